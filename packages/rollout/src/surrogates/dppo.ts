import { safeExp } from '../numeric/saturate.ts';
import { CLAMP_20 } from './logRatio.ts';
import type { Surrogate } from './surrogate.ts';
import { tokenwise, weightedLogLikelihood } from './tokenwise.ts';

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
  return tokenwise({
    name: `dppo(${divergence})`,
    clamp: CLAMP_20,
    token(scratch, k, t, x, a, logp) {
      const old = scratch.old[k] as number;
      const p = safeExp(logp);
      const q = safeExp(old);
      if (!(divergence === 'tv' ? withinTv(p - q, a, low, high) : withinKl(p, q, logp, old, a, low, high))) {
        scratch.high++;
        return;
      }
      const r = Math.exp(x);
      if (r > maxRatio) scratch.capped++;
      weightedLogLikelihood(scratch, t, Math.min(r, maxRatio), a, logp);
    },
  });
}

function withinTv(moved: number, a: number, low: number, high: number): boolean {
  return a > 0 ? moved <= high : moved >= -low;
}

function withinKl(p: number, q: number, l: number, o: number, a: number, low: number, high: number): boolean {
  const divergence = q * (o - l) + (1 - q) * Math.log((1 - q + 1e-8) / (1 - p + 1e-8));
  return a > 0 ? divergence <= high || p <= q : divergence <= low || p >= q;
}
