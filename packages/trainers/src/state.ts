import { TrainerError } from './errors.ts';

/**
 * Where a trainer is, as plain data. Order of the data and all random numbers are functions of `seed` and `position`
 * (Philox counters), so this is the random state too; weights and moments are on the device (`readTrainingState`).
 */
export interface TrainerState {
  readonly seed: number;
  /** Steps done. */
  readonly step: number;
  /** Examples taken from the data so far. */
  readonly position: number;
  /** Updates of the optimiser that were applied. */
  readonly updates: number;
  /** Tokens that went through the model so far (TRL's `num_tokens`). */
  readonly tokens: number;
  /** State of an objective that has one (`StatefulObjective`): any JSON. */
  readonly objective?: unknown;
}

/** Any trainer, as `train` and checkpoints see it. */
export interface Trainer {
  readonly step: number;
  /** Why no further step is to be expected, if so (data used up). */
  readonly finished: boolean;
  next(): Promise<Readonly<Record<string, number>> & { readonly step: number }>;
  state(): TrainerState;
  /** Goes on from a state. Throws `invalid-checkpoint` for one of another seed or without the fields. */
  restore(state: TrainerState): void;
}

/** A state as it was read from a file, checked. */
export function checkState(state: TrainerState, seed: number): TrainerState {
  const bad = (['step', 'position', 'updates', 'tokens'] as const).find((k) => !Number.isInteger(state?.[k]) || state[k] < 0);
  if (bad !== undefined) throw new TrainerError('invalid-checkpoint', `state.${bad}`, `is ${String(state?.[bad])}.`, 'Use a state that this trainer gave.');
  if (state.seed !== seed) throw new TrainerError('invalid-checkpoint', 'state.seed', `is ${state.seed}, the trainer's is ${seed}.`, 'Go on with the seed of the checkpoint.');
  return state;
}
