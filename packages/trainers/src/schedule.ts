import { TrainerError } from './errors.ts';

export interface ScheduleOptions {
  /** Peak learning rate. */
  readonly learningRate: number;
  /** Steps in all. */
  readonly steps: number;
  /** Steps of linear warm-up. Default 0. */
  readonly warmupSteps?: number;
  /** What comes after it, as in transformers: default `constant`. */
  readonly lrSchedulerType?: 'constant' | 'linear' | 'cosine';
}

/** The learning rate of step 1 .. steps. A fraction of a step is one that dynamic sampling is on its way to. */
export function learningRateAt(step: number, { learningRate, steps, warmupSteps = 0, lrSchedulerType = 'constant' }: ScheduleOptions): number {
  if (!(learningRate > 0) || !Number.isFinite(learningRate)) throw new TrainerError('invalid-option', 'learningRate', `is ${learningRate}.`, 'Give a positive number.');
  if (step <= warmupSteps) return (learningRate * step) / warmupSteps;
  const done = Math.min(1, Math.max(0, (step - warmupSteps - 1) / Math.max(1, steps - warmupSteps)));
  switch (lrSchedulerType) {
    case 'constant':
      return learningRate;
    case 'linear':
      return learningRate * (1 - done);
    case 'cosine':
      return learningRate * 0.5 * (1 + Math.cos(Math.PI * done));
    default:
      return lrSchedulerType satisfies never;
  }
}
