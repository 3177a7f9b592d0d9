import { defineConfig } from 'tsup';
import { base } from '../../tsup.base.ts';

/** The core runs anywhere; `./node` reads and writes folders. */
export default defineConfig({ ...base, entry: { index: 'src/index.ts', node: 'src/node/index.ts' } });
