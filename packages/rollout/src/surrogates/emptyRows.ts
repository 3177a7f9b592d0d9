import type { TokenView } from '../batch/view.ts';
import { RolloutError } from '../error.ts';

/**
 * What rows without an active token add to TRL's RLOO loss: their log-ratio is an empty sum, so their ratio is 1, and the
 * mean over all rows counts −A / B for each. A constant, without a gradient.
 *
 * @throws RolloutError `not-finite` for the advantage of such a row.
 */
export function rlooEmptyRows(view: TokenView): number {
  // One advantage a token leaves an empty row none.
  if (view.perToken) return 0;
  let sum = 0;
  for (let i = 0; i < view.rows; i++) {
    if (view.counts[i] !== 0) continue;
    const a = view.advantages[i] as number;
    if (a - a !== 0) throw new RolloutError('not-finite', `advantages[${i}]`, a, 'is not a finite number', 'Use 0 for a rollout that must not count; a masked one counts in RLOO.');
    sum -= a / (view.stepRows ?? view.rows);
  }
  return sum;
}
