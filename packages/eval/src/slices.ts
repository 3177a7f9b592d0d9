/** @file Parts of a test set. */
import { proportion, type Proportion } from './interval.ts';

export interface Cell {
  readonly policyId: string;
  readonly leafId: string;
}

/** Which test items ask for a case of a policy (a cell) that none of the training items shows. */
export function unseenCells(train: readonly Cell[], test: readonly Cell[]): boolean[] {
  const seen = new Set(train.map(({ policyId, leafId }) => `${policyId} ${leafId}`));
  return test.map(({ policyId, leafId }) => !seen.has(`${policyId} ${leafId}`));
}

/** Accuracy on the items of a slice; null when it is empty. */
export function sliceAccuracy(outcomes: readonly boolean[], inside: readonly boolean[]): Proportion | null {
  const own = outcomes.filter((_, i) => inside[i]);
  return own.length === 0 ? null : proportion(own.filter(Boolean).length, own.length);
}
