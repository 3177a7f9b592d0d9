import { defineConfig } from 'tsup';
import { base } from '../../tsup.base.ts';

// `shims`: import.meta.url in CommonJS too, from which the shipped base is found.
export default defineConfig({ ...base, entry: { index: 'src/index.ts', node: 'src/node.ts', 'pretrain-worker': 'src/node/pretrain-worker.ts' }, splitting: true, shims: true });
