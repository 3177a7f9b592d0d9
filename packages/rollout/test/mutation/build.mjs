/**
 * @file Bundles the tests for mutation testing: all of them but those of the driver, the packed tarball and the examples,
 * in one file that mocha runs in its own process, so that a mutant costs milliseconds (0.3 to 0.6 s with a worker started
 * for each). The tests stay written for vitest: its names come from `vitest.ts` beside this file.
 */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts') && !file.startsWith('driver'))
  .map((file) => join('src', file));
const golden = readdirSync('test').filter((file) => /^golden.*\.test\.ts$/.test(file)).map((file) => join('test', file));

await build({
  stdin: { contents: [...files, ...golden].map((file) => `import './${file}';`).join('\n'), resolveDir: '.', loader: 'ts' },
  outfile: 'test/mutation.bundle.mjs',
  bundle: true,
  // package.json calls the package free of side effects, and registering tests is one.
  ignoreAnnotations: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  alias: { vitest: resolve('test/mutation/vitest.ts') },
  external: ['fast-check', '@vitest/expect'],
  banner: { js: "process.env.TRIMPI_FEW_RUNS ??= '12';" },
});
