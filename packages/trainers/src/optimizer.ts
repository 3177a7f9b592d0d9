import type { AdamWHyper } from '@trimpi/runtime';
import type { VisionLanguageModel } from '@trimpi/model';
import { TrainerError } from './errors.ts';
import { checkSchedule, type ScheduleOptions } from './schedule.ts';

export interface OptimizerOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
  /** Global gradient norm above which gradients are scaled down; 0: never. Default 1. */
  readonly maxGradNorm?: number;
  /** What a loss or gradient that is not finite does: no weight changes, and the step is reported as skipped, or throws `diverged` (default). */
  readonly onNonFinite?: 'skip' | 'throw';
}

/**
 * What no update can be computed with, before any work.
 * @throws TrainerError `invalid-option` naming the option.
 */
export function checkOptimisation(options: ScheduleOptions & OptimizerOptions): void {
  checkSchedule(options);
  const { beta1 = 0, beta2 = 0, eps = 1, weightDecay = 0, maxGradNorm = 0, onNonFinite = 'throw' } = options;
  const refuse = (name: string, value: unknown, remedy: string): never => {
    throw new TrainerError('invalid-option', name, `is ${String(value)}.`, remedy);
  };
  if (!(eps > 0 && Number.isFinite(eps))) refuse('eps', eps, 'Give a positive number.');
  for (const [name, value] of Object.entries({ beta1, beta2 })) if (!(value >= 0 && value < 1)) refuse(name, value, 'Give a number from 0 to below 1.');
  if (!(weightDecay >= 0 && Number.isFinite(weightDecay))) refuse('weightDecay', weightDecay, 'Give 0 or a positive number.');
  if (!(maxGradNorm >= 0)) refuse('maxGradNorm', maxGradNorm, 'Give a positive number, or 0 for no clipping.');
  if (onNonFinite !== 'throw' && onNonFinite !== 'skip') refuse('onNonFinite', onNonFinite, "Use 'throw' or 'skip'.");
}

/** AdamW's settings for an update, with transformers' defaults. */
export function hyperAt(step: number, learningRate: number, { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0, maxGradNorm = 1 }: OptimizerOptions): AdamWHyper {
  return { learningRate, beta1, beta2, eps, weightDecay, maxNorm: maxGradNorm, step, gradScale: 1 };
}

/**
 * Applies the accumulated gradient as update number `hyper.step`, unless the loss or the gradient's norm is not finite:
 * the gradient is then thrown away, and `diverged` is thrown or `applied` is false.
 */
export async function applyUpdate(model: VisionLanguageModel, hyper: AdamWHyper, loss: number, { onNonFinite = 'throw' }: OptimizerOptions, where: string): Promise<{ readonly gradNorm: number; readonly applied: boolean }> {
  // An infinite scale makes the norm infinite, on which the kernel clears the gradient and leaves everything else.
  const gradNorm = await model.step(Number.isFinite(loss) ? hyper : { ...hyper, gradScale: Infinity });
  const applied = Number.isFinite(loss) && Number.isFinite(gradNorm);
  if (!applied && onNonFinite === 'throw') {
    throw new TrainerError('diverged', where, `has loss ${loss} and gradient norm ${gradNorm}; the update was not applied.`, "Lower the learning rate, go back to the last checkpoint, or pass onNonFinite: 'skip'.");
  }
  return { gradNorm, applied };
}

/** Numbers in the precision of the engine: float32 on a GPU, float64 on the reference. */
export type StateArray = Float32Array | Float64Array;

/** Everything that training changes on the device, by name: values and moments of every trainable store. */
export async function readTrainingState(model: VisionLanguageModel): Promise<Map<string, StateArray>> {
  const out = new Map<string, StateArray>();
  for (const store of model.trainableStores) {
    for (const part of ['values', 'm', 'v'] as const) out.set(`${store.values.name}/${part}`, ((await store.storage(part).read()) as StateArray).slice());
  }
  return out;
}

const partsOf = (model: VisionLanguageModel) => model.trainableStores.flatMap((store) => (['values', 'm', 'v'] as const).map((part) => ({ name: `${store.values.name}/${part}`, storage: store.storage(part) })));

/** Names of what a state lacks of what is trained, or has in another size. */
export function missingFromState(model: VisionLanguageModel, state: ReadonlyMap<string, StateArray>): string[] {
  return partsOf(model).filter(({ name, storage }) => state.get(name)?.length !== storage.length).map(({ name }) => name);
}

/** Puts a state back; the same stores must be trainable. Returns the names that are missing or of another size (nothing is written then). */
export function writeTrainingState(model: VisionLanguageModel, state: ReadonlyMap<string, StateArray>): string[] {
  const bad = missingFromState(model, state);
  if (bad.length === 0) for (const { name, storage } of partsOf(model)) storage.write(state.get(name)!);
  return bad;
}
