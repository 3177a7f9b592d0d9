/** @file Parts of a test set. */
import { EvalError } from './errors.ts';
import { proportion, type Proportion } from './interval.ts';

export interface Cell {
  readonly policyId: string;
  readonly leafId: string;
}

/** Which test items ask for a case of a policy (a cell) that none of the training items shows. */
export function unseenCells(train: readonly Cell[], test: readonly Cell[]): boolean[] {
  const key = ({ policyId, leafId }: Cell) => JSON.stringify([policyId, leafId]);
  const seen = new Set(train.map(key));
  return test.map((cell) => !seen.has(key(cell)));
}

/** Accuracy on the items of a slice; null when it is empty. */
export function sliceAccuracy(outcomes: readonly boolean[], inside: readonly boolean[]): Proportion | null {
  if (inside.length !== outcomes.length) throw new EvalError('invalid-input', 'inside', `has ${inside.length} entries for ${outcomes.length} outcomes.`, 'Say of every outcome whether it is in the slice.');
  const own = outcomes.filter((_, i) => inside[i]);
  return own.length === 0 ? null : proportion(own.filter(Boolean).length, own.length);
}
