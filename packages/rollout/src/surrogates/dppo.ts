import { MAX_EXPONENT, saturate } from '../numeric/saturate.ts';
import { CLAMP_20 } from './logRatio.ts';
import type { Surrogate } from './surrogate.ts';

export interface DppoOptions {
  /** The divergence of the token's own probability: total variation or (binary) KL. */
  readonly divergence: 'tv' | 'kl';
  /** Bound at A ≤ 0. Default 0.2. */
  readonly low?: number | undefined;
  /** Bound at A > 0. Default 0.2. */
  readonly high?: number | undefined;
  /** Largest importance weight. Default 20 (the paper; verl's config gives 3). */
  readonly maxRatio?: number | undefined;
}

/**
 * DPPO (arXiv 2602.04879, verl `dppo_tv`, `dppo_kl`): a token leaves the loss when its probability has moved too far in
 * the direction its advantage pushes,
 *
 *   L = −sg[min(r, c)] A logp · 1[divergence within bound],     dL/dlogp = −min(r, c) A · 1[…]
 */
export function dppo({ divergence, low = 0.2, high = 0.2, maxRatio = 20 }: DppoOptions): Surrogate {
  const top = Math.min(CLAMP_20.max as number, MAX_EXPONENT);
  return {
    name: `dppo(${divergence})`,
    needs: [],
    coupled: false,
    perSequence: false,
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, old } = scratch;
      const end = offsets[i + 1] as number;
      let sum = 0;
      let dropped = 0;
      let capped = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        if (!mask[k]) continue;
        const l = logps[k] as number;
        const o = old[k] as number;
        const x = Math.min(Math.max(l - o, -top), top);
        sum += x;
        const r = Math.exp(x);
        const p = Math.exp(Math.min(l, MAX_EXPONENT));
        const q = Math.exp(Math.min(o, MAX_EXPONENT));
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        if (!(divergence === 'tv' ? withinTv(p - q, a, low, high) : withinKl(p, q, l, o, a, low, high))) {
          dropped++;
          continue;
        }
        if (r > maxRatio) capped++;
        const weight = Math.min(r, maxRatio);
        const g = saturate(-weight * a);
        loss[t] = g * l;
        grad[t] = g;
      }
      scratch.logRatio = sum;
      scratch.high = dropped;
      scratch.capped = capped;
    },
  };
}

function withinTv(moved: number, a: number, low: number, high: number): boolean {
  return a > 0 ? moved <= high : moved >= -low;
}

function withinKl(p: number, q: number, l: number, o: number, a: number, low: number, high: number): boolean {
  const divergence = q * (o - l) + (1 - q) * Math.log((1 - q + 1e-8) / (1 - p + 1e-8));
  return a > 0 ? divergence <= high || p <= q : divergence <= low || p >= q;
}
