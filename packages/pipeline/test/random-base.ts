import { memoryFiles, type ModelFiles, serializeSafetensors, VisionLanguageModel } from '@trimpi/model';
import type { Engine } from '@trimpi/runtime';
import { makeTiny } from '../src/base/tiny.ts';

/** A smaller sibling of the tiny base with random weights: everything runs, nothing is known. */
export async function randomBase(engine: Engine, words?: readonly string[], seed = 2): Promise<ModelFiles> {
  const tiny = makeTiny({ hidden: 32, layers: 2, heads: 2, kvHeads: 1, intermediate: 48, visionHidden: 32, visionDepth: 2, visionHeads: 2, visionIntermediate: 48 }, words);
  const model = new VisionLanguageModel(engine, tiny.config);
  model.initialise(seed, (_, shape) => 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)));
  const files = memoryFiles({ ...tiny.files, 'model.safetensors': serializeSafetensors(await model.tensors()) }, 'random base');
  model.dispose();
  return files;
}
