import type { TokenView } from '../batch/view.ts';
import type { RowScratch } from './surrogate.ts';

/**
 * @file Clip, k3 and gradient of one row in one pass. The general path goes over a row once a part; for the objective
 * that almost everyone runs (token clip, perhaps k3, one advantage a row, nothing in between) that costs several times
 * what the exponentials do. This pass reads each array once and writes the gradient where it belongs.
 *
 * The loop holds as few branches and sums as it can: each costs up to half an exponential (measured, November 2026,
 * V8 11.3). Masked tokens are skipped by whole runs, and log-ratios beyond a library's clamp are looked for in a pass of
 * their own, before, and only where there is a clamp. Numbers that are none show in the sums.
 */

/** The four numbers of the clip, and the |log-ratio| beyond which the general path decides (Infinity: nowhere). */
export interface FusedClip {
  readonly low: number;
  readonly high: number;
  readonly ceiling: number;
  readonly cap: number;
  readonly limit: number;
}

/** k3 with weight beta; where ref − logp leaves [least, most] the general path decides. */
export interface FusedK3 {
  readonly beta: number;
  readonly least: number;
  readonly most: number;
}

/** What the loop of one run adds up. */
interface Sums {
  /** Σ r of unclipped tokens. */
  inside: number;
  below: number;
  above: number;
  logRatio: number;
  kl: number;
}

/**
 * Fills dLogp for row i, the counts in `scratch` and the row's KL in `scratch.extra`; returns the row's summed loss.
 *
 * NaN means that something is out of the ordinary (a huge gap, a number that is none): the caller takes the general
 * path for this row, which finds out what.
 */
export function fusedClipRow(view: TokenView, i: number, scratch: RowScratch, dLogp: Float64Array, clip: FusedClip, k3: FusedK3 | undefined): number {
  const { mask, offsets } = view;
  const start = offsets[i] as number;
  const end = offsets[i + 1] as number;
  const a = view.advantages[i] as number;
  const count = view.counts[i] as number;
  if (count > 0 && a - a !== 0) return NaN;
  const negative = a < 0;
  const below = negative ? clip.low : -1;
  const top = negative ? clip.cap : clip.ceiling;
  const sums: Sums = { inside: 0, below: 0, above: 0, logRatio: 0, kl: 0 };
  let from = start;
  let left = count;
  while (left > 0) {
    while (!mask[from]) dLogp[from++] = 0;
    let to = from;
    if (left === end - from) to = end;
    else while (to < end && mask[to]) to++;
    if (clip.limit < Infinity && !allWithin(view.logps, scratch.old, from, to, -clip.limit, clip.limit)) return NaN;
    if (k3 !== undefined && k3.least > -Infinity && !allWithin(view.refLogps as ArrayLike<number>, view.logps, from, to, k3.least, k3.most)) return NaN;
    if (k3 === undefined) clipRun(view, scratch, dLogp, from, to, below, top, 0 - a * scratch.scale, sums);
    else clipAndK3Run(view, scratch, dLogp, from, to, below, top, 0 - a * scratch.scale, k3.beta * scratch.scale, sums);
    left -= to - from;
    from = to;
  }
  dLogp.fill(0, from, end);
  if (!Number.isFinite(sums.logRatio)) return NaN;
  scratch.logRatio = sums.logRatio;
  scratch.low = negative ? sums.below : 0;
  scratch.high = a > 0 && clip.ceiling === clip.high ? sums.above : 0;
  scratch.capped = negative ? sums.above : 0;
  scratch.extra = sums.kl < 0 ? 0 : sums.kl;
  const floor = clip.low < clip.cap ? clip.low : clip.cap;
  const clipped = (sums.below === 0 ? 0 : sums.below * floor) + (sums.above === 0 ? 0 : sums.above * top);
  return -a * (sums.inside + clipped) + (k3 === undefined ? 0 : k3.beta * scratch.extra);
}

/** Whether every top − bottom of a run lies in [least, most]; false also for NaN. */
function allWithin(top: ArrayLike<number>, bottom: ArrayLike<number>, from: number, to: number, least: number, most: number): boolean {
  for (let k = from; k < to; k++) {
    const x = (top[k] as number) - (bottom[k] as number);
    if (!(x >= least && x <= most)) return false;
  }
  return true;
}

function clipRun({ logps }: TokenView, { old }: RowScratch, dLogp: Float64Array, from: number, to: number, below: number, top: number, slope: number, sums: Sums): void {
  let inside = 0;
  let low = 0;
  let high = 0;
  let logRatio = 0;
  for (let k = from; k < to; k++) {
    const x = (logps[k] as number) - (old[k] as number);
    logRatio += x;
    const r = Math.exp(x);
    let gradient = 0;
    if (r < below) low++;
    else if (r > top) high++;
    else {
      inside += r;
      gradient = slope * r;
    }
    dLogp[k] = gradient;
  }
  sums.inside += inside;
  sums.below += low;
  sums.above += high;
  sums.logRatio += logRatio;
}

function clipAndK3Run({ logps, refLogps }: TokenView, { old }: RowScratch, dLogp: Float64Array, from: number, to: number, below: number, top: number, slope: number, klSlope: number, sums: Sums): void {
  const refs = refLogps as ArrayLike<number>;
  let inside = 0;
  let low = 0;
  let high = 0;
  let logRatio = 0;
  let kl = 0;
  for (let k = from; k < to; k++) {
    const logp = logps[k] as number;
    const x = logp - (old[k] as number);
    const d = (refs[k] as number) - logp;
    const q = Math.exp(d);
    const r = Math.exp(x);
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
  sums.inside += inside;
  sums.below += low;
  sums.above += high;
  sums.logRatio += logRatio;
  sums.kl += kl;
}
