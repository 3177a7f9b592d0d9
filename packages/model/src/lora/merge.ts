/** @file Adding an adapter to the weights of a checkpoint, as PEFT's `merge_and_unload` does; no device needed, one tensor in memory at a time. */
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import type { Checkpoint } from '../safetensors/checkpoint.ts';
import { fromFloat32 } from '../safetensors/dtype.ts';
import type { LazyTensor } from '../safetensors/writer.ts';
import type { Adapter, LoraWeights } from './peft-files.ts';
import type { LoraTarget } from './targets.ts';

/**
 * All tensors of a checkpoint by in-memory name, with the adapter in them, in the checkpoint's own precision.
 * @throws ModelError `unsupported` when an adapted module has no weight of its own; reading throws it for a weight that is not in F32, F16 or BF16.
 */
export function mergedTensors(checkpoint: Checkpoint, adapter: Adapter, { tieWordEmbeddings }: ModelConfig): Map<string, LazyTensor> {
  const targets = new Map(adapter.targets.map((target) => [`${target.name}.weight`, target]));
  for (const name of targets.keys()) {
    if (!checkpoint.has(name)) throw new ModelError('unsupported', { argument: 'adapter', value: name, message: `is changed by the adapter and not in the checkpoint${tieWordEmbeddings ? ' (its head is the embedding)' : ''}`, remedy: 'Keep the adapter beside the weights.' });
  }
  return new Map(
    checkpoint.names.map((name): [string, LazyTensor] => {
      const { dtype, shape } = checkpoint.info(name);
      const target = targets.get(name);
      if (target === undefined) return [name, { dtype, shape, read: () => checkpoint.readBytes(name) }];
      const read = async () => {
        if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') throw new ModelError('unsupported', { argument: name, value: dtype, message: 'cannot be merged into', remedy: 'Use a checkpoint in F32, F16 or BF16.' });
        const weight = await checkpoint.readFloat32(name);
        mergeInto(weight, target, adapter.weights.get(target.name)!);
        return fromFloat32(weight, dtype);
      };
      return [name, { dtype, shape, read }];
    }),
  );
}

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
