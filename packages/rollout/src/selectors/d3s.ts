import { RolloutError, checkNumber } from '../error.ts';

/**
 * D³S, the rollout half (Learning More with Less, September 2025): the subset of `keep` rollouts, over all groups, whose advantages vary most.
 * Such a subset is always made of the lowest and the highest ones, so every split between the two ends is tried.
 *
 * @returns the chosen rows, ascending.
 */
export function maxVarianceSubset(advantages: ArrayLike<number>, keep: number): Int32Array {
  const n = advantages.length;
  checkNumber('keep', keep, 1, n);
  if (!Number.isInteger(keep)) throw new RolloutError('invalid-argument', 'keep', keep, 'must be a whole number', 'Pass how many rollouts to keep.');
  const order = Array.from({ length: n }, (_, i) => i);
  order.sort((a, b) => (advantages[a] as number) - (advantages[b] as number));
  const sum = new Float64Array(n + 1);
  const squares = new Float64Array(n + 1);
  order.forEach((i, k) => {
    const a = advantages[i] as number;
    sum[k + 1] = (sum[k] as number) + a;
    squares[k + 1] = (squares[k] as number) + a * a;
  });
  let best = 0;
  let bestVariance = -Infinity;
  for (let low = 0; low <= keep; low++) {
    const from = n - (keep - low);
    const s = (sum[low] as number) + (sum[n] as number) - (sum[from] as number);
    const q = (squares[low] as number) + (squares[n] as number) - (squares[from] as number);
    const variance = q / keep - (s / keep) ** 2;
    if (variance > bestVariance) {
      bestVariance = variance;
      best = low;
    }
  }
  const chosen = [...order.slice(0, best), ...order.slice(n - (keep - best))];
  return Int32Array.from(chosen).toSorted();
}

/**
 * D³S, the token half: keeps the share of active tokens with the largest |A| · H.
 *
 * @returns a mask in the layout of the input.
 */
export function topTokens(input: { advantages: ArrayLike<number>; entropy: ArrayLike<number>; mask: ArrayLike<number | boolean>; shape: readonly [rows: number, columns: number] }, share: number): Uint8Array {
  checkNumber('share', share, 0, 1);
  const { advantages, entropy, mask, shape } = input;
  const [rows, columns] = shape;
  if (advantages.length !== rows || entropy.length !== rows * columns || mask.length !== rows * columns) {
    throw new RolloutError('length-mismatch', 'shape', `${rows}x${columns}`, 'does not fit the arrays', 'Pass one advantage a row, and row-major entropy and mask.');
  }
  const active: number[] = [];
  for (let k = 0; k < rows * columns; k++) if (mask[k]) active.push(k);
  const score = (k: number): number => Math.abs(advantages[Math.floor(k / columns)] as number) * (entropy[k] as number);
  active.sort((a, b) => score(b) - score(a));
  const keep = new Uint8Array(rows * columns);
  for (const k of active.slice(0, Math.ceil(share * active.length))) keep[k] = 1;
  return keep;
}
