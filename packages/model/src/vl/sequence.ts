/** @file What the processor puts out, as a sequence for the model. */
import type { ProcessorOutput } from '../processor.ts';
import type { TokenSequence } from './batch.ts';

/** Tokens, positions and the patches of a row, image by image. */
export function sequenceOf({ inputIds, positionIds, pixelValues, imageGridThw }: ProcessorOutput): TokenSequence {
  const patches = imageGridThw.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  const width = patches === 0 ? 0 : pixelValues.length / patches;
  let at = 0;
  const images = imageGridThw.map((gridThw) => {
    const [t, h, w] = gridThw;
    return { gridThw, pixelValues: pixelValues.subarray(at, (at += t * h * w * width)) };
  });
  return { inputIds, positionIds, images };
}
