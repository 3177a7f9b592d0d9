import type { TokenArray } from '../batch/input.ts';
import type { TokenView } from '../batch/view.ts';
import { REACH, clipAndK3Run, clipRun } from './fusedLoops.ts';
import type { RowScratch } from './surrogate.ts';

/**
 * @file Clip, k3 and gradient of one row in one pass. The general path goes over a row once a part; for the objective
 * that almost everyone runs (token clip, perhaps k3, one advantage a row, nothing in between) that costs several times
 * what the exponentials do. This pass reads each array once and writes the gradient where it belongs.
 *
 * Masked tokens are skipped by whole runs. A token beyond the loops' table of exponentials, or beyond a library's clamp,
 * stops the loop and is looked at on its own. Numbers that are none show in the sums.
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

/**
 * Fills dLogp for row i, the counts in `scratch` and the row's KL in `scratch.extra`; returns the row's summed loss.
 *
 * NaN means that something is out of the ordinary (a huge gap, a number that is none): the caller takes the general
 * path for this row, which finds out what.
 */
export function fusedClipRow(view: TokenView, i: number, scratch: RowScratch, dLogp: Float64Array, clip: FusedClip, k3: FusedK3 | undefined): number {
  const { logps, refLogps, mask, offsets } = view;
  const start = offsets[i] as number;
  const end = offsets[i + 1] as number;
  const a = view.advantages[i] as number;
  const count = view.counts[i] as number;
  const negative = a < 0;
  const below = negative ? clip.low : -1;
  const top = negative ? clip.cap : clip.ceiling;
  const { old, limits, sums } = scratch;
  limits[0] = below;
  limits[1] = top;
  limits[2] = 0 - a * scratch.scale;
  limits[3] = (k3?.beta ?? 0) * scratch.scale;
  limits[4] = Math.min(clip.limit, REACH);
  limits[5] = Math.max(k3?.least ?? -REACH, -REACH);
  limits[6] = Math.min(k3?.most ?? REACH, REACH);
  sums.fill(0);
  let from = start;
  let left = count;
  while (left > 0) {
    while (!mask[from]) dLogp[from++] = 0;
    // As many active tokens as positions: the run goes to the end. Else it ends at a masked one.
    let to = from;
    if (left === end - from) to = end;
    else while (mask[to]) to++;
    left -= to - from;
    while (true) {
      from = k3 === undefined ? clipRun(logps, old, dLogp, from, to, limits, sums) : clipAndK3Run(logps, old, refLogps as TokenArray, dLogp, from, to, limits, sums);
      if (from === to) break;
      if (!edgeToken(view, scratch, dLogp, from, clip, k3)) return NaN;
      from++;
    }
  }
  dLogp.fill(0, from, end);
  const inside = sums[0] as number;
  const clippedBelow = sums[1] as number;
  const clippedAbove = sums[2] as number;
  const kl = sums[4] as number;
  scratch.logRatio = sums[3] as number;
  if (!Number.isFinite(scratch.logRatio)) return NaN;
  scratch.low = negative ? clippedBelow : 0;
  scratch.high = a > 0 && clip.ceiling === clip.high ? clippedAbove : 0;
  scratch.capped = negative ? clippedAbove : 0;
  scratch.extra = Math.max(kl, 0);
  const clipped = clippedBelow * clip.low + (clippedAbove === 0 ? 0 : clippedAbove * top);
  return -a * (inside + clipped) + (k3 === undefined ? 0 : k3.beta * scratch.extra);
}

/** One token beyond the table, in the same arithmetic; false where a clamp acts, or the token holds no number. */
function edgeToken({ logps, refLogps }: TokenView, { old, limits, sums }: RowScratch, dLogp: Float64Array, k: number, clip: FusedClip, k3: FusedK3 | undefined): boolean {
  const logp = logps[k] as number;
  const x = logp - (old[k] as number);
  if (!(Math.abs(x) <= clip.limit)) return false;
  sums[3] = (sums[3] as number) + x;
  let gradient = 0;
  if (k3 !== undefined) {
    const d = ((refLogps as TokenArray)[k] as number) - logp;
    if (!(d >= k3.least && d <= k3.most)) return false;
    const q = Math.exp(d);
    sums[4] = (sums[4] as number) + (q - d - 1);
    const klSlope = limits[3] as number;
    gradient = klSlope - klSlope * q;
  }
  const r = Math.exp(x);
  if (r < (limits[0] as number)) sums[1] = (sums[1] as number) + 1;
  else if (r > (limits[1] as number)) sums[2] = (sums[2] as number) + 1;
  else {
    sums[0] = (sums[0] as number) + r;
    gradient += (limits[2] as number) * r;
  }
  dLogp[k] = gradient;
  return true;
}
