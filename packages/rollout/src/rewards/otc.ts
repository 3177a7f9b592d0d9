import { RolloutError, checkNumber } from '../error.ts';

/**
 * OTC's tool-efficiency factor (arXiv 2504.14870, GRPO form): n is the least number of calls among the group's correct
 * rollouts, m a rollout's own,
 *
 *   1 if m = n = 0;   cos(m π / (2 m + c)) if n = 0;   else sin(f π / 2n), f = 2 n m / (m + n)
 *
 * Multiply it with the correctness reward. It is 1 at m = n.
 */
export function otcReward(calls: number, least: number, c = 1): number {
  checkNumber('calls', calls, 0);
  checkNumber('least', least, 0);
  checkNumber('c', c, 1e-9);
  if (least === 0) return Math.cos((calls * Math.PI) / (2 * calls + c));
  const f = (2 * least * calls) / (calls + least);
  return Math.sin((f * Math.PI) / (2 * least));
}

/** `otcReward` times correctness for a whole group; n comes from its correct rollouts. */
export function otcGroupRewards(calls: ArrayLike<number>, correct: ArrayLike<boolean | number>, c = 1): Float64Array {
  if (calls.length !== correct.length) throw new RolloutError('length-mismatch', 'correct', correct.length, `must have ${calls.length} entries`, 'Pass one flag a rollout.');
  let least = Infinity;
  for (let i = 0; i < calls.length; i++) if (correct[i]) least = Math.min(least, calls[i] as number);
  return Float64Array.from({ length: calls.length }, (_, i) => (correct[i] ? otcReward(calls[i] as number, least, c) : 0));
}
