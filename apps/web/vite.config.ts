import { defaultClientConditions, defineConfig } from 'vite';
import { baseFiles } from './vite-base.ts';
import { contentSecurity } from './vite-csp.ts';
import { licenseNotices } from './vite-licenses.ts';

const licenses = licenseNotices();

export default defineConfig({
  // Relative addresses: the page runs from any folder of any server.
  base: './',
  resolve: { conditions: ['@trimpi/source', ...defaultClientConditions] },
  plugins: [baseFiles(), contentSecurity(), licenses.page],
  // ECharts names `global` in its checks for development.
  define: { global: 'globalThis' },
  worker: { format: 'es', plugins: () => [licenses.worker] },
  build: { target: 'es2023', modulePreload: { polyfill: false }, chunkSizeWarningLimit: 700 },
  server: { host: '127.0.0.1' },
  preview: { host: '127.0.0.1' },
});
