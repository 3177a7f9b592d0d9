import { defineConfig } from 'vitest/config';

/** Mutation testing takes the tests with fixed numbers: random properties would be run anew for every mutant. */
export default defineConfig({
  test: { include: ['src/**/*.test.ts', 'test/golden*.test.ts'], exclude: ['src/**/*.property.test.ts', '**/node_modules/**'] },
});
