/**
 * @file Mean and standard deviation that hold for every finite double.
 *
 * Torch's float32 mean of eight rewards of 0.7 is not 0.7, so libraries give eight perfect answers an advantage of
 * 0.056 (verl pull 4598). Here equal values are recognised by comparison, sums are float64 and in two passes, and
 * values near the ends of the range are scaled by a power of two (which is exact) before they are squared.
 */

import { toFinite } from './saturate.ts';

/** Moments of some values: `equal` when all are the same number, `sd` the sample standard deviation (divisor n − ddof). */
export interface Moments {
  readonly count: number;
  readonly mean: number;
  readonly sd: number;
  readonly equal: boolean;
  /** The power of two the values were multiplied by; mean and sd are in that scale. */
  readonly scale: number;
}

const HUGE = 2 ** 480;
const TINY = 2 ** -480;

/**
 * Mean and standard deviation of `values[i]` for i in `indices`, NaN (a missing reward) left out.
 *
 * @param ddof 1 for the sample deviation (torch.std, TRL, verl), 0 for the population's.
 */
export function moments(values: ArrayLike<number>, indices: ArrayLike<number>, ddof: 0 | 1 = 1): Moments {
  let count = 0;
  let min = Infinity;
  let max = -Infinity;
  for (let k = 0; k < indices.length; k++) {
    const x = values[indices[k] as number] as number;
    if (x !== x) continue;
    count++;
    min = Math.min(min, x);
    max = Math.max(max, x);
  }
  if (count === 0) return { count, mean: NaN, sd: NaN, equal: true, scale: 1 };
  if (min === max) return { count, mean: min, sd: count > ddof ? 0 : NaN, equal: true, scale: 1 };
  const largest = Math.max(Math.abs(min), Math.abs(max));
  const scale = largest > HUGE ? 2 ** -540 : largest < TINY ** 2 ? 2 ** 1000 : largest < TINY ? 2 ** 540 : 1;
  let sum = 0;
  for (let k = 0; k < indices.length; k++) {
    const x = values[indices[k] as number] as number;
    if (x === x) sum += x * scale;
  }
  const mean = sum / count;
  let squares = 0;
  for (let k = 0; k < indices.length; k++) {
    const x = values[indices[k] as number] as number;
    if (x === x) squares += (x * scale - mean) ** 2;
  }
  return { count, mean, sd: Math.sqrt(squares / (count - ddof)), equal: false, scale };
}

/** (x − mean) / (sd + epsilon), exactly 0 when all values are equal, in the scale the moments were taken in. */
export function standardise(x: number, m: Moments, epsilon: number): number {
  if (m.equal) return 0;
  return (x * m.scale - m.mean) / (m.sd + epsilon * m.scale);
}

/** x − mean in the original scale, cut to finite doubles; exactly 0 when all values are equal. */
export function centre(x: number, m: Moments): number {
  if (m.equal) return 0;
  const difference = (x * m.scale - m.mean) / m.scale;
  return toFinite(difference);
}
