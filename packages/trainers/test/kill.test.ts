/** @file `kill -9` at random moments of trainings on disk: fifty times of one on the processor, some of RL on a GPU. */
import { type ChildProcess, fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PhiloxStream } from '@trimpi/runtime';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';

const STEPS = 40;
const SAVE_STEPS = 3;
const root = mkdtempSync(join(tmpdir(), 'trimpi-kill-'));
const script = join(root, 'child.mjs');
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeAll(async () => {
  // One file, so that a process begins in a fraction of a second; it finds Dawn where the runtime does.
  const webgpu = createRequire(new URL('../../runtime/package.json', import.meta.url)).resolve('webgpu');
  mkdirSync(join(root, 'node_modules'));
  symlinkSync(dirname(webgpu), join(root, 'node_modules', 'webgpu'), 'dir');
  await build({
    entryPoints: [fileURLToPath(new URL('kill-child.ts', import.meta.url))], outfile: script, bundle: true, platform: 'node', format: 'esm', target: 'node20', conditions: ['@trimpi/source'],
    external: ['webgpu', 'sharp'], banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" }, logLevel: 'error',
  });
});

interface Life {
  readonly child: ChildProcess;
  /** Step at which it began; null until it said so. */
  began: number | null;
  /** The last step whose checkpoint was surely written: one was being written after it. */
  saved: number;
  damaged: string[];
  readonly begin: Promise<void>;
  /** Whether it came to its end. */
  readonly exit: Promise<boolean>;
}

function start(folder: string, kind: 'sft' | 'rl'): Life {
  const child = fork(script, [folder, String(STEPS), String(SAVE_STEPS), kind], { execArgv: [] });
  let begun: () => void;
  const life: Life = {
    child, began: null, saved: 0, damaged: [],
    begin: new Promise((resolve) => (begun = resolve)),
    exit: new Promise((resolve) => child.on('exit', (code) => (begun(), resolve(code === 0)))),
  };
  let saving = 0;
  child.on('message', (m: { began?: number; saving?: number; damaged?: string }) => {
    if (m.began !== undefined) {
      life.began = life.saved = saving = m.began;
      begun();
    }
    if (m.saving !== undefined) {
      life.saved = saving;
      saving = m.saving;
    }
    if (m.damaged !== undefined) life.damaged.push(m.damaged);
  });
  return life;
}

const fresh = (name: string) => {
  const folder = join(root, name);
  mkdirSync(folder);
  return folder;
};

it.each([
  ['SFT in float64, 50', 'sft', 50, 5],
  ['PolicyRollout on WebGPU, 8', 'rl', 8, 2],
] as const)('%s kills at random moments: it loses at most the steps since the last checkpoint and ends with the same bits', { timeout: 900_000 }, async (_, kind, most, places) => {
  const random = new PhiloxStream(20261121);
  const straight = fresh(`${kind} straight`);
  const begin = performance.now();
  expect(await start(straight, kind).exit).toBe(true);
  const life = performance.now() - begin;
  const want = readFileSync(join(straight, 'final.bin'));
  const steps = readFileSync(join(straight, 'metrics.jsonl'), 'utf8').trim().split('\n').map((l) => JSON.parse(l) as { step: number; loss: number });
  expect(steps.map((s) => s.step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));

  const inside: number[] = [];
  let runs = 0;
  let folder = fresh(`${kind} 0`);
  let saved = 0;
  const check = () => {
    expect(readFileSync(join(folder, 'final.bin')).equals(want)).toBe(true);
    const own = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trim().split('\n').map((l) => JSON.parse(l) as { step: number; loss: number });
    expect(own.map(({ step, loss }) => [step, loss])).toEqual(steps.map(({ step, loss }) => [step, loss]));
    folder = fresh(`${kind} ${++runs}`);
    saved = 0;
  };
  const settle = (one: Life) => {
    expect(one.damaged).toEqual([]);
    if (one.began === null) return;
    expect(one.began, 'goes on from the last checkpoint or a later one').toBeGreaterThanOrEqual(saved);
    expect(one.began % SAVE_STEPS === 0 || one.began === STEPS, `began at ${one.began}`).toBe(true);
    saved = one.saved;
  };
  for (let kills = 0; kills < most; ) {
    const one = start(folder, kind);
    // One in five while it starts and loads; the others while it trains and writes.
    if (kills % 5 !== 4) await one.begin;
    await new Promise((r) => setTimeout(r, random.next() * life * (kills % 5 === 4 ? 0.7 : 0.25)));
    one.child.kill('SIGKILL');
    const ended = await one.exit;
    settle(one);
    if (ended) {
      check();
      continue;
    }
    if (one.began !== null) inside.push(one.began);
    kills++;
  }
  const last = start(folder, kind);
  expect(await last.exit).toBe(true);
  settle(last);
  check();
  // The kills fell into different parts of the training, not all into its beginning.
  expect(new Set(inside).size).toBeGreaterThanOrEqual(places);
  expect(readdirSync(straight).filter((f) => f.endsWith('.safetensors'))).toHaveLength(2);
});
