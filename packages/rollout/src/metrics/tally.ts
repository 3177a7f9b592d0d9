import type { TokenView } from '../batch/view.ts';
import type { RowScratch } from '../surrogates/surrogate.ts';

/** Running counts over rows, from which every library's metrics are made. */
export interface Tally {
  tokens: number;
  rows: number;
  low: number;
  high: number;
  capped: number;
  /** Least row share clipped below and greatest clipped above; NaN before the first row with tokens. */
  lowMin: number;
  highMax: number;
  logRatio: number;
  extra: number;
  kl: number;
  /** Σ of each row's KL times its factor in the loss. */
  klAggregated: number;
  entropy: number;
  /** Σ logp, and the mean over rows of its mean. */
  logp: number;
  logpRowMeans: number;
  /** Σ behaviour − old. */
  samplerGap: number;
}

export function emptyTally(): Tally {
  return { tokens: 0, rows: 0, low: 0, high: 0, capped: 0, lowMin: NaN, highMax: NaN, logRatio: 0, extra: 0, kl: 0, klAggregated: 0, entropy: 0, logp: 0, logpRowMeans: 0, samplerGap: 0 };
}

export function addRow(tally: Tally, view: TokenView, i: number, scratch: RowScratch, perSequence: boolean, kl: number): void {
  const count = view.counts[i] as number;
  tally.tokens += count;
  tally.rows++;
  tally.low += scratch.low;
  tally.high += scratch.high;
  tally.capped += scratch.capped;
  tally.logRatio += scratch.logRatio;
  tally.extra += scratch.extra;
  addKl(tally, kl, scratch.scale);
  if (count === 0 && !perSequence) return;
  const unit = perSequence ? 1 : count;
  const low = scratch.low / unit;
  const high = scratch.high / unit;
  if (!(tally.lowMin <= low)) tally.lowMin = low;
  if (!(tally.highMax >= high)) tally.highMax = high;
}

/** One row's KL: `scale` is its factor in the loss. */
export function addKl(tally: Tally, kl: number, scale: number): void {
  tally.kl += kl;
  tally.klAggregated += scale * kl;
}

/** Sums that only some metrics want: entropy, the log-probabilities themselves, the gap between sampler and trainer. */
export function addTokenSums(tally: Tally, view: TokenView, i: number, want: { logp: boolean }): void {
  const { entropy, mask, logps, behaviorLogps, oldLogps, offsets } = view;
  if (entropy === undefined && behaviorLogps === undefined && !want.logp) return;
  const end = offsets[i + 1] as number;
  let logp = 0;
  for (let k = offsets[i] as number; k < end; k++) {
    if (!mask[k]) continue;
    if (entropy !== undefined) tally.entropy += entropy[k] as number;
    if (behaviorLogps !== undefined) tally.samplerGap += (behaviorLogps[k] as number) - (oldLogps[k] as number);
    logp += logps[k] as number;
  }
  tally.logp += logp;
  tally.logpRowMeans += logp / ((view.counts[i] as number) + 1e-8);
}
