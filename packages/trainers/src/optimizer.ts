import type { AdamWHyper } from '@trimpi/runtime';
import type { VisionLanguageModel } from '@trimpi/model';

export interface OptimizerOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
  /** Global gradient norm above which gradients are scaled down; 0: never. Default 1. */
  readonly maxGradNorm?: number;
}

/** AdamW's settings for a step, with transformers' defaults. */
export function hyperAt(step: number, learningRate: number, { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0, maxGradNorm = 1 }: OptimizerOptions): AdamWHyper {
  return { learningRate, beta1, beta2, eps, weightDecay, maxNorm: maxGradNorm, step, gradScale: 1 };
}

/** Everything that training changes on the device, by name: values and moments of every trainable store. */
export async function readTrainingState(model: VisionLanguageModel): Promise<Map<string, Float32Array>> {
  const out = new Map<string, Float32Array>();
  for (const store of model.trainableStores) {
    for (const part of ['values', 'm', 'v'] as const) out.set(`${store.values.name}/${part}`, Float32Array.from(await store.storage(part).read()));
  }
  return out;
}

/** Puts a state back; the same stores must be trainable. Returns the names that are missing or of another size (nothing is written then). */
export function writeTrainingState(model: VisionLanguageModel, state: ReadonlyMap<string, Float32Array>): string[] {
  const wanted = model.trainableStores.flatMap((store) => (['values', 'm', 'v'] as const).map((part) => ({ name: `${store.values.name}/${part}`, storage: store.storage(part) })));
  const bad = wanted.filter(({ name, storage }) => state.get(name)?.length !== storage.length).map(({ name }) => name);
  if (bad.length === 0) for (const { name, storage } of wanted) storage.write(state.get(name)!);
  return bad;
}
