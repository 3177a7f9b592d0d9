import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { findChromium } from './scripts/lib/system.mjs';
import { nodeProject, resolve } from './scripts/lib/vitest-node.mjs';

const chromium = findChromium();

/** WebGPU on the CPU (SwiftShader), and none of the traffic that a browser makes by itself. */
const chromiumArgs = [
  '--headless=new',
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

export default defineConfig({
  test: {
    projects: [
      nodeProject,
      {
        resolve,
        // Dependencies are served as the ES modules they are: bundling them when they turn up reloads a running test.
        optimizeDeps: { noDiscovery: true, include: [] },
        test: {
          name: 'browser',
          include: ['packages/*/{src,test}/**/*.browser.test.ts', 'apps/*/{src,test}/**/*.browser.test.ts'],
          exclude: ['**/node_modules/**', '**/dist/**'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            api: { host: '127.0.0.1' },
            provider: playwright({
              launchOptions: { ...(chromium === undefined ? {} : { executablePath: chromium }), args: chromiumArgs },
            }),
            instances: [{ browser: 'chromium' }],
          },
        },
      },
    ],
  },
});
