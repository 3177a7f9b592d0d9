import { defineConfig } from 'vitest/config';

/**
 * Mutation testing: every test but those of the packed tarball and of the examples, the properties with a few fixed
 * runs, in one worker that stays (a new one for every file and mutant is ten times as slow).
 */
export default defineConfig({
  test: { isolate: false, pool: 'threads', env: { TRIMPI_FEW_RUNS: '12' }, include: ['src/**/*.test.ts', 'test/golden*.test.ts'], exclude: ['src/driver/**', '**/node_modules/**'] },
});
