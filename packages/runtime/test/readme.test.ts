import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import * as runtime from '../src/index.ts';

/** Runs an example of the README as it stands; answers with what it prints. */
async function example(n: number, edit = (code: string) => code): Promise<[number, number][]> {
  const readme = readFileSync(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8');
  const code = edit([...readme.matchAll(/```ts\n(import[\s\S]*?)```/g)][n]![1]!);
  const names = /import \{([^}]*)\}/.exec(code)![1]!;
  const body = code.replace(/import[^;]*;/, `const {${names}} = runtime;`).replaceAll(']!', ']');
  const lines: [number, number][] = [];
  const AsyncFunction = (async () => undefined).constructor as new (...args: string[]) => (...args: unknown[]) => Promise<void>;
  await new AsyncFunction('runtime', 'console', body)(runtime, { log: (step: number, value: number) => lines.push([step, value]) });
  return lines;
}

it('the first example of the README learns', async () => {
  const lines = await example(0);
  expect(lines.map(([step]) => step)).toEqual([100, 200, 300]);
  expect(lines[2]![1]).toBeLessThan(0.1);
  expect(lines[2]![1]).toBeLessThan(lines[0]![1]);
});

it('the GPT of the README learns its language', async () => {
  // As it stands but for a batch of 2 x 64 in place of 8 x 128, an eighth of the work; `gpt.test.ts` runs the whole size.
  const lines = await example(1, (code) => {
    expect(code).toContain('512, 8, 128]');
    return code.replace('512, 8, 128]', '512, 2, 64]');
  });
  expect(lines.map(([step]) => step)).toEqual([10, 20, 30, 40]);
  for (let i = 1; i < 4; i++) expect(lines[i]![1]).toBeLessThan(lines[i - 1]![1] + 0.05);
  // No model can be below the entropy of the language; this one knows half of it after 40 steps.
  expect(lines[3]![1]).toBeGreaterThan(Math.log(8) / 2 - 0.05);
  expect(lines[3]![1]).toBeLessThan(1.3);
}, 600_000);
