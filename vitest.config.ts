import { defineConfig } from 'vitest/config';

/** Tests run on the sources of the workspace (the `@trimpi/source` condition), so no build has to come first. */
const resolve = { conditions: ['@trimpi/source', 'module', 'import', 'default'] };
const ssr = { resolve: { conditions: ['@trimpi/source', 'module', 'import', 'node', 'default'] } };

export default defineConfig({
  test: {
    projects: [
      {
        resolve,
        ssr,
        test: {
          name: 'node',
          environment: 'node',
          include: ['packages/*/{src,test}/**/*.test.ts', 'apps/*/{src,test}/**/*.test.ts'],
          exclude: ['**/*.browser.test.ts', '**/node_modules/**', '**/dist/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
