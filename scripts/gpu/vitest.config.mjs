/** @file The tests that run in Node, without the browser's: for machines that have no Chromium (see pack.mjs). */
import { defineConfig } from 'vitest/config';
import { ROOT } from '../lib/run.mjs';
import { nodeProject } from '../lib/vitest-node.mjs';

export default defineConfig({ root: ROOT, test: { projects: [nodeProject] } });
