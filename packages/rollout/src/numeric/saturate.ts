/**
 * @file Limits that keep every result finite. A log-probability gap of 800 makes exp overflow; where a library would
 * return infinity (and then NaN) we stop at a number so large that it is still unmistakable, and so small that a
 * billion of them can be added.
 */

/** Largest value of one token's loss or gradient: 1e9 of them still sum to a finite number. */
export const LIMIT = 1e290;

/** exp is taken of at most this, so that a ratio is at most 1.02e304. */
export const MAX_EXPONENT = 700;

/** x cut to [-LIMIT, LIMIT]; finite for every x that is not NaN. */
export function saturate(x: number): number {
  return Math.min(Math.max(x, -LIMIT), LIMIT);
}

/** exp(x) that never overflows. */
export function safeExp(x: number): number {
  return Math.exp(Math.min(x, MAX_EXPONENT));
}

/** x cut to the range of finite doubles. */
export function toFinite(x: number): number {
  return Math.min(Math.max(x, -Number.MAX_VALUE), Number.MAX_VALUE);
}
