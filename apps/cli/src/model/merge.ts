/** @file Adding an adapter to one weight matrix, as PEFT's `merge_and_unload` does. */
import type { LoraTarget, LoraWeights } from '@trimpi/model';

/**
 * W + s B A, W [out, in] row-major (LoRA, arXiv 2106.09685); with a magnitude m (DoRA, arXiv 2402.09353) every row of
 * that is divided by its Euclidean norm and multiplied by m. Changes `weight` in place.
 */
export function mergeInto(weight: Float32Array, { r, scaling, inFeatures, outFeatures }: Pick<LoraTarget, 'r' | 'scaling' | 'inFeatures' | 'outFeatures'>, { loraA, loraB, magnitude }: LoraWeights): void {
  const delta = new Float64Array(inFeatures);
  for (let o = 0; o < outFeatures; o++) {
    delta.fill(0);
    for (let k = 0; k < r; k++) {
      const b = loraB[o * r + k]!;
      if (b === 0) continue;
      for (let i = 0, a = k * inFeatures; i < inFeatures; i++, a++) delta[i]! += b * loraA[a]!;
    }
    const row = weight.subarray(o * inFeatures, (o + 1) * inFeatures);
    for (let i = 0; i < inFeatures; i++) delta[i] = row[i]! + scaling * delta[i]!;
    let scale = 1;
    if (magnitude !== undefined) {
      let square = 0;
      for (let i = 0; i < inFeatures; i++) square += delta[i]! * delta[i]!;
      scale = square === 0 ? 0 : magnitude[o]! / Math.sqrt(square);
    }
    for (let i = 0; i < inFeatures; i++) row[i] = scale * delta[i]!;
  }
}
