import { defineConfig } from 'vitest/config';

/** Mutation testing: the same tests without the slow consumers of the tarball, and with few runs of each property. */
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/golden*.test.ts'],
    env: { ROLLOUT_PROPERTY_RUNS: '4' },
  },
});
