import type { TokenArray } from '../batch/input.ts';

/**
 * @file The two loops that almost all the time is spent in. They hold as few branches and sums as they can, and no call:
 * before a call every running sum goes to memory, so that Math.exp costs more than its own 3.3 ns.
 *
 * Exponentials come from a table of 512 points a unit: with n the whole number nearest to 512 x and u = 512 x − n, which
 * is exact and at most 1/2, e^x = e^(n/512) (1 + u/512 + u²/(2 · 512²) + u³/(6 · 512³) + u⁴/(24 · 512⁴)), and what is left
 * of the series is 8e-18. Adding 1.5 · 2^52 and taking it away again gives n. Results are within 2 units in the last place
 * of Math.exp, and exactly 1 at 0.
 *
 * Two things that look like style decide how V8 compiles this (measured on Node 20, two-core EPYC, November 2026). The
 * numbers stand in the loops: a bundler makes variables of a module's constants, and V8 then reads them anew at every
 * token (half as much time again). And the arrays come as arguments: taken out of the batch's view in here, the code is
 * thrown away when the next view comes, and what replaces it takes 32 ms a million tokens with k3 instead of 14.
 */

/** The table (32 kB) holds e^x for |x| < REACH; log-ratios of a policy in training hardly ever leave it. */
export const REACH = 4;

/** e^x at 512 points a unit of x; e^0 is entry 2048. */
const expGrid: Float64Array = /* @__PURE__ */ Float64Array.from({ length: 4097 }, (_, n) => Math.exp((n - 2048) / 512));

/**
 * What the loops compare with and multiply by: [below, top, slope, klSlope, reach, least, most]. A loop takes tokens with
 * |logp − old| < reach and least < ref − logp < most. A Float64Array, because a number in an object has to be checked
 * for being one in every turn of the loop.
 */
export type Limits = Float64Array;

/** What they add up: [Σ r of unclipped tokens, tokens below, tokens above, Σ log-ratio, Σ k3]. */
export type Sums = Float64Array;

/** Clip of the tokens from `from` up to `to`, or to the first one beyond the table: returns where it stopped. */
export function clipRun(logps: TokenArray, old: TokenArray, dLogp: Float64Array, from: number, to: number, limits: Limits, sums: Sums): number {
  const below = limits[0] as number;
  const top = limits[1] as number;
  const slope = limits[2] as number;
  const reach = limits[4] as number;
  const grid = expGrid;
  let inside = 0;
  let low = 0;
  let high = 0;
  let logRatio = 0;
  let k = from;
  for (; k < to; k++) {
    const x = (logps[k] as number) - (old[k] as number);
    if (!(Math.abs(x) < reach)) break;
    const steps = x * 512;
    const n = steps + 6755399441055744 - 6755399441055744;
    const u = steps - n;
    const uu = u * u;
    const r = (grid[(n + 2048) | 0] as number) * (1 + u * (1 / 512) + uu * (1 / 524288 + u * (1 / 805306368) + uu * (1 / 1649267441664)));
    logRatio += x;
    let gradient = 0;
    if (r < below) low++;
    else if (r > top) high++;
    else {
      inside += r;
      gradient = slope * r;
    }
    dLogp[k] = gradient;
  }
  sums[0] = (sums[0] as number) + inside;
  sums[1] = (sums[1] as number) + low;
  sums[2] = (sums[2] as number) + high;
  sums[3] = (sums[3] as number) + logRatio;
  return k;
}

/** The same with k3. */
export function clipAndK3Run(logps: TokenArray, old: TokenArray, refs: TokenArray, dLogp: Float64Array, from: number, to: number, limits: Limits, sums: Sums): number {
  const below = limits[0] as number;
  const top = limits[1] as number;
  const slope = limits[2] as number;
  const klSlope = limits[3] as number;
  const reach = limits[4] as number;
  const least = limits[5] as number;
  const most = limits[6] as number;
  const grid = expGrid;
  let inside = 0;
  let low = 0;
  let high = 0;
  let logRatio = 0;
  let kl = 0;
  let k = from;
  for (; k < to; k++) {
    const logp = logps[k] as number;
    const x = logp - (old[k] as number);
    const d = (refs[k] as number) - logp;
    if (!(Math.abs(x) < reach && d > least && d < most)) break;
    const steps = x * 512;
    const refSteps = d * 512;
    const n = steps + 6755399441055744 - 6755399441055744;
    const m = refSteps + 6755399441055744 - 6755399441055744;
    const u = steps - n;
    const v = refSteps - m;
    const uu = u * u;
    const vv = v * v;
    const r = (grid[(n + 2048) | 0] as number) * (1 + u * (1 / 512) + uu * (1 / 524288 + u * (1 / 805306368) + uu * (1 / 1649267441664)));
    const q = (grid[(m + 2048) | 0] as number) * (1 + v * (1 / 512) + vv * (1 / 524288 + v * (1 / 805306368) + vv * (1 / 1649267441664)));
    logRatio += x;
    kl += q - d - 1;
    let gradient = klSlope - klSlope * q;
    if (r < below) low++;
    else if (r > top) high++;
    else {
      inside += r;
      gradient += slope * r;
    }
    dLogp[k] = gradient;
  }
  sums[0] = (sums[0] as number) + inside;
  sums[1] = (sums[1] as number) + low;
  sums[2] = (sums[2] as number) + high;
  sums[3] = (sums[3] as number) + logRatio;
  sums[4] = (sums[4] as number) + kl;
  return k;
}
