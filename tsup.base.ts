import { defineConfig, type Options } from 'tsup';

/** One build for every package: ESM and CJS, each with its own declarations (`.d.ts` and `.d.cts`). */
export const base: Options = {
  entry: ['src/index.ts'],
  format: ['esm', 'cjs'],
  dts: { compilerOptions: { customConditions: [], ignoreDeprecations: '5.0' } },
  clean: true,
  sourcemap: true,
  target: 'es2022',
  treeshake: true,
};

export default defineConfig(base);
