import { copyFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

export default defineConfig({
  entry: ['src/main.ts'], format: ['esm'], target: 'node20', platform: 'node', clean: true, sourcemap: true, banner: { js: '#!/usr/bin/env node' },
  onSuccess: async () => copyFileSync('src/export/reward.py', 'dist/reward.py'),
});
