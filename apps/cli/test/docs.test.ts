/** @file Runs what the documentation shows. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { golden, trimpi } from './helpers.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const read = (page: string): string => readFileSync(join(ROOT, 'docs', page), 'utf8');
const blocks = (page: string, language: string): string[] => [...read(page).matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map((m) => m[1]!);

// Inside the package, so that imports find the workspace.
mkdirSync(join(ROOT, 'apps/cli/.cache'), { recursive: true });
const work = mkdtempSync(join(ROOT, 'apps/cli/.cache/docs-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

async function runProgram(name: string, code: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  writeFileSync(join(work, name), code);
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--conditions=@trimpi/source', name], { cwd: work, env: { ...process.env, ...env } });
  return stdout;
}

describe('docs/own-policy.md', () => {
  it('runs, step by step, with the folder it shows and a tiny model', async () => {
    mkdirSync(join(work, 'models'));
    symlinkSync(golden('model'), join(work, 'models/qwen'));
    mkdirSync(join(work, 'docs/examples'), { recursive: true });
    cpSync(join(ROOT, 'docs/examples/sorting'), join(work, 'docs/examples/sorting'), { recursive: true });
    const shown = blocks('own-policy.md', 'json')[0]!.trim();
    expect(readFileSync(join(work, 'docs/examples/sorting/examples.jsonl'), 'utf8').split('\n')).toContain(JSON.stringify(JSON.parse(shown)));
    const before = process.cwd();
    process.chdir(work);
    try {
      const [check, measure, train, use, out] = blocks('own-policy.md', 'sh');
      const run = async (block: string) => {
        for (const line of block.trim().split('\n')) {
          const { code, stdout, stderr } = await trimpi(...words(line.replace('--max-new-tokens 64', '--max-new-tokens 4')).slice(1));
          expect(code, `${line}\n${stdout}${stderr}`).toBe(0);
        }
      };
      await run(check!);
      expect(existsSync('work/look/contact-sheet.png')).toBe(true);
      await run(measure!);
      const few = 'vmCpt: {steps: 1}\nsft: {steps: 1}\nrl: {steps: 1, promptsPerStep: 1, rollouts: 2, maxNewTokens: 4}\ntestSize: 2\n';
      writeFileSync('policy.yaml', `${blocks('own-policy.md', 'yaml')[0]!}${few}`);
      await run(train!);
      expect(readFileSync('work/sorting/report.html', 'utf8')).toContain('Where does this tray go');
      expect(await trimpi('eval', 'work/sorting')).toMatchObject({ code: 2, stderr: expect.stringContaining('--adapter') });
      const said = await runProgram('internalise.ts', blocks('own-policy.md', 'ts').join('\n'), { STEPS: '2', MAX_NEW_TOKENS: '4' });
      expect(said.match(/^(vm-cpt|sft|rl) -?\d+\.\d+$/gm)).toHaveLength(6);
      await run(use!);
      await run(out!);
      for (const file of ['work/sorting/adapter/adapter_model.safetensors', 'work/adapter/adapter_model.safetensors', 'work/merged/model.safetensors', 'work/verl/reward.py']) expect(existsSync(file), file).toBe(true);
    } finally {
      process.chdir(before);
    }
  });
});

describe('docs/adding', () => {
  it('objective.md: the program of the page says what its comments say', async () => {
    const [needs, check] = (await runProgram('objective.ts', blocks('adding/objective.md', 'ts').join('\n'))).trim().split('\n');
    expect(needs).toContain('refLogps');
    expect(check).toBe('true true');
  });

  it('dataset.md: the program of the page says what its comments say', async () => {
    const lines = (await runProgram('dataset.ts', blocks('adding/dataset.md', 'ts').join('\n'))).trim().split('\n');
    expect(lines[0]).toBe('true');
    expect(lines[1]).toMatch(/^(stop|go) 2352$/);
    expect(lines.slice(2)).toEqual(['{ accuracy: 1, format: 1 }', '0']);
  });
});

describe('every command line in the documentation', () => {
  const docs = fileURLToPath(new URL('../../../docs/', import.meta.url));
  const pages = [...readdirSync(docs, { recursive: true }).map(String).filter((file) => file.endsWith('.md')).toSorted(), '../README.md', '../CONTRIBUTING.md', '../apps/cli/README.md', '../packages/pipeline/README.md'];
  const lines = pages.flatMap((page) => [...blocks(page, 'sh').join('\n').matchAll(/^(?:\w+=\w+ )?(?:npm run (?:--silent )?trimpi -- |npx trimpi |trimpi )(.*)$/gm)].map((m) => [page, `trimpi ${m[1]!.replace(/ +#.*$/, '')}`] as const));

  it.each(lines)('%s: %s', async (_page, line) => {
    // Asking for help with it checks the command and every option without running it.
    const [, ...args] = words(line.replace(/ >.*$/, ''));
    expect(await help(args)).toBe(0);
  });

  it('there are some', () => expect(lines.length).toBeGreaterThan(10));
});

async function help(args: readonly string[]): Promise<number> {
  const path = args.filter((a) => !a.startsWith('-')).slice(0, args[0] === 'data' ? 2 : 1);
  const { code, stdout } = await trimpi(...path, '--help');
  const known = new Set(stdout.match(/--[a-z][\w-]*/g));
  for (const flag of args.filter((a) => a.startsWith('--'))) expect(known).toContain(flag);
  return code;
}

/** A command line as a shell splits it, for the quotes that the pages use. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2]!);
}

