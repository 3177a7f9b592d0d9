import { RolloutError, checkNumber } from '../error.ts';
import type { RewardColumn } from '../advantages/input.ts';
import { toFinite } from '../numeric/saturate.ts';

/**
 * The KL penalty inside the reward (TRL's RLOO, verl `use_kl_in_reward`): r − β Σ_t (old − ref), k1 summed over a
 * rollout's active tokens. A missing reward (null or NaN) stays one, NaN.
 */
export function klInReward(input: { rewards: RewardColumn; oldLogps: ArrayLike<number>; refLogps: ArrayLike<number>; mask: ArrayLike<number | boolean>; shape: readonly [rows: number, columns: number] }, beta: number): Float64Array {
  checkNumber('beta', beta, 0);
  const { rewards, oldLogps, refLogps, mask, shape } = input;
  const [rows, columns] = shape;
  if (rewards.length !== rows || [oldLogps, refLogps, mask].some((array) => array.length !== rows * columns)) {
    throw new RolloutError('length-mismatch', 'shape', `${rows}x${columns}`, 'does not fit the arrays', 'Pass one reward a row and row-major arrays.');
  }
  return Float64Array.from({ length: rows }, (_, i) => {
    let kl = 0;
    for (let k = i * columns; k < (i + 1) * columns; k++) if (mask[k]) kl += (oldLogps[k] as number) - (refLogps[k] as number);
    return toFinite((rewards[i] ?? NaN) - beta * toFinite(kl));
  });
}
