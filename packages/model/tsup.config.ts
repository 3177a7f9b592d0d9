import { defineConfig } from 'tsup';
import { base } from '../../tsup.base.ts';

export default defineConfig({
  ...base,
  entry: { index: 'src/index.ts', node: 'src/node.ts', hub: 'src/hub.ts', onnx: 'src/onnx.ts' },
  // Shared code once for all entries, in CommonJS too: an error of one entry is an instance of the class of another.
  splitting: true,
});
