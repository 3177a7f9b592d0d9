import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';
import { runCommand } from '../src/run.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process and catches what it prints. */
export async function trimpi(...args: readonly string[]): Promise<Ran> {
  let stdout = '';
  let stderr = '';
  const spies = [
    vi.spyOn(console, 'log').mockImplementation((...parts) => void (stdout += `${parts.join(' ')}\n`)),
    vi.spyOn(console, 'error').mockImplementation((...parts) => void (stderr += `${parts.join(' ')}\n`)),
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((stdout += String(text)), true)),
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((stderr += String(text)), true)),
  ];
  try {
    return { code: await runCommand(args), stdout, stderr };
  } finally {
    for (const spy of spies) spy.mockRestore();
    process.exitCode = 0;
  }
}

/** Runs a command line as a process of its own, from the sources. */
export async function trimpiProcess(...args: readonly string[]): Promise<Ran> {
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@trimpi/source', main, ...args], { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((done, fail) => child.on('close', done).on('error', fail));
  return { code: code ?? -1, stdout, stderr };
}

/** A folder that is gone after the test file. */
export function scratch(): { path: (...parts: readonly string[]) => string; remove: () => void } {
  const root = mkdtempSync(join(tmpdir(), 'trimpi-cli-'));
  return { path: (...parts) => join(root, ...parts), remove: () => rmSync(root, { recursive: true, force: true }) };
}

/** The tiny Qwen2.5-VL in a folder of its own, with 16384 positions instead of 1024. */
export function longModel(out: string): string {
  cpSync(golden('model'), out, { recursive: true });
  const file = join(out, 'config.json');
  writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), max_position_embeddings: 16_384 }));
  return out;
}

/** The tiny Qwen2.5-VL of the model package's tests. */
export const golden = (name: string): string => fileURLToPath(new URL(`../../../packages/model/test/fixtures/qwen25vl/${name}`, import.meta.url));
