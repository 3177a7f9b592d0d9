import { TrainerError } from './errors.ts';

export const LR_SCHEDULER_TYPES = ['constant', 'linear', 'cosine'] as const;

export interface ScheduleOptions {
  /** Peak learning rate. */
  readonly learningRate: number;
  /** Steps in all. */
  readonly steps: number;
  /** Steps of linear warm-up. Default 0. The first has one `warmupSteps`-th of the rate, where transformers' has none, and so on. */
  readonly warmupSteps?: number;
  /** What comes after it, as in transformers: default `constant`. */
  readonly lrSchedulerType?: (typeof LR_SCHEDULER_TYPES)[number];
}

/** @throws TrainerError `invalid-option` naming what no schedule can have. */
export function checkSchedule({ learningRate, steps, warmupSteps = 0, lrSchedulerType = 'constant' }: ScheduleOptions): void {
  if (!(learningRate > 0 && Number.isFinite(learningRate))) throw new TrainerError('invalid-option', 'learningRate', `is ${learningRate}.`, 'Give a positive number.');
  if (!Number.isInteger(steps) || steps < 0) throw new TrainerError('invalid-option', 'steps', `is ${steps}.`, 'Give a whole number of steps.');
  if (!(warmupSteps >= 0 && Number.isFinite(warmupSteps))) throw new TrainerError('invalid-option', 'warmupSteps', `is ${warmupSteps}.`, 'Give 0 or a positive number.');
  if (!LR_SCHEDULER_TYPES.includes(lrSchedulerType)) throw new TrainerError('invalid-option', 'lrSchedulerType', `is ${String(lrSchedulerType)}.`, `Use one of ${LR_SCHEDULER_TYPES.join(', ')}.`);
}

/** The learning rate of step 1 .. steps. A fraction of a step is one that dynamic sampling is on its way to. */
export function learningRateAt(step: number, schedule: ScheduleOptions): number {
  checkSchedule(schedule);
  const { learningRate, steps, warmupSteps = 0, lrSchedulerType = 'constant' } = schedule;
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
