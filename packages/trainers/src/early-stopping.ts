import { TrainerError } from './errors.ts';

export interface EarlyStoppingOptions {
  /** Name of the metric that should improve. Steps without it, or with NaN, are not counted; one that is in none of the first `patience` updates is refused. */
  readonly metric: string;
  /** Steps with the metric, one after the other, that may bring nothing better. */
  readonly patience: number;
  /** What counts as better: more than this. Default 0. */
  readonly minDelta?: number;
  /** Default true (a reward); false for a loss. */
  readonly greaterIsBetter?: boolean;
}

/** Where early stopping is; plain data, kept in checkpoints. */
export interface EarlyStoppingState {
  readonly best: number | null;
  readonly waited: number;
}

export const EARLY_STOPPING_START: EarlyStoppingState = { best: null, waited: 0 };

export function checkEarlyStopping({ patience, minDelta = 0 }: EarlyStoppingOptions): void {
  if (!(Number.isFinite(minDelta) && minDelta >= 0)) throw new TrainerError('invalid-option', 'earlyStopping.minDelta', `is ${minDelta}.`, 'Give a number from 0.');
  if (!Number.isInteger(patience) || patience < 1) throw new TrainerError('invalid-option', 'earlyStopping.patience', `is ${patience}.`, 'Give a positive number of steps.');
}

/** The state after a step's metrics, as transformers' EarlyStoppingCallback counts; stop when `waited` reaches `patience`. */
export function watchMetric(state: EarlyStoppingState, metrics: Readonly<Record<string, number>>, options: EarlyStoppingOptions): EarlyStoppingState {
  checkEarlyStopping(options);
  const { metric, minDelta = 0, greaterIsBetter = true } = options;
  const value = metrics[metric];
  if (value === undefined || Number.isNaN(value)) return state;
  const better = state.best === null || (greaterIsBetter ? value - state.best : state.best - value) > minDelta;
  return better ? { best: value, waited: 0 } : { best: state.best, waited: state.waited + 1 };
}
