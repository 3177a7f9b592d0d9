import { defineConfig } from 'tsup';
import { base } from '../../tsup.base.ts';

// `html` by itself: its charts are large, and a page loads them when a report is written.
export default defineConfig({ ...base, entry: { index: 'src/index.ts', html: 'src/html.ts' }, splitting: true });
