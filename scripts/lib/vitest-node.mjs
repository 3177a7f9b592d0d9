/** @file The tests that run in Node, as a project of vitest; they run on the sources of the workspace, so no build has to come first. */

/** Of modules: the `@trimpi/source` condition first. */
export const resolve = { conditions: ['@trimpi/source', 'module', 'import', 'default'] };

export const nodeProject = {
  resolve,
  ssr: { resolve: { conditions: ['@trimpi/source', 'module', 'import', 'node', 'default'] } },
  test: {
    name: 'node',
    environment: 'node',
    include: ['packages/*/{src,test}/**/*.test.ts', 'apps/*/{src,test}/**/*.test.ts', 'scripts/**/*.test.mjs'],
    exclude: ['**/*.browser.test.ts', '**/node_modules/**', '**/dist/**'],
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
};
