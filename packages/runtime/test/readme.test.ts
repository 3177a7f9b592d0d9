import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import * as runtime from '../src/index.ts';

/** Runs the first example of the README as it stands, and looks at what it prints. */
it('the first example of the README learns', async () => {
  const readme = readFileSync(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8');
  const code = /```ts\n(import[\s\S]*?)```/.exec(readme)![1]!;
  const names = /import \{([^}]*)\}/.exec(code)![1]!;
  const body = code.replace(/import[^;]*;/, `const {${names}} = runtime;`).replaceAll(']!', ']');
  const lines: [number, number][] = [];
  const AsyncFunction = (async () => undefined).constructor as new (...args: string[]) => (...args: unknown[]) => Promise<void>;
  await new AsyncFunction('runtime', 'console', body)(runtime, { log: (step: number, error: number) => lines.push([step, error]) });
  expect(lines.map(([step]) => step)).toEqual([100, 200, 300]);
  expect(lines[2]![1]).toBeLessThan(0.1);
  expect(lines[2]![1]).toBeLessThan(lines[0]![1]);
});
