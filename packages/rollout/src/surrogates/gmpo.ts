import type { Surrogate } from './surrogate.ts';
import { saturate } from '../numeric/saturate.ts';

export interface GmpoOptions {
  /** Default 0.4 (the paper). */
  readonly epsilon?: number | undefined;
  readonly epsilonHigh?: number | undefined;
  /** Added to the token count (verl 1e-8). Default 0. */
  readonly countEpsilon?: number | undefined;
}

/**
 * GMPO, geometric-mean policy optimisation (arXiv 2507.20673, verl `geo_mean`): one ratio a sequence from clipped
 * log-ratios, clipped only in the direction its advantage pushes,
 *
 *   L_i = −Ā exp( (1/T) Σ_t Δ'_t ),     Δ' = min(Δ, ε_h) at A > 0, max(Δ, −ε_l) at A < 0
 *   dL_i/dlogp_t = L_i / T where Δ' = Δ, else 0
 *
 * Meant with an aggregation that averages rows; the loss of a row stands on each of its tokens.
 */
export function gmpo({ epsilon = 0.4, epsilonHigh = epsilon, countEpsilon = 0 }: GmpoOptions = {}): Surrogate {
  return {
    name: 'gmpo',
    needs: [],
    coupled: true,
    perSequence: false,
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, share, old } = scratch;
      const start = offsets[i] as number;
      const end = offsets[i + 1] as number;
      const count = (view.counts[i] as number) + countEpsilon;
      let sum = 0;
      let clippedSum = 0;
      let meanAdvantage = 0;
      let high = 0;
      let low = 0;
      for (let k = start, t = 0; k < end; k++, t++) {
        share[t] = 0;
        if (!mask[k]) continue;
        const x = saturate((logps[k] as number) - (old[k] as number));
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        const clamped = Math.min(Math.max(x, -epsilon), epsilonHigh);
        const used = a > 0 ? Math.min(x, clamped) : a < 0 ? Math.max(x, clamped) : 0;
        if (clamped !== x && a > 0) high++;
        if (clamped !== x && a < 0) low++;
        if (used === x && a !== 0) share[t] = 1 / count;
        sum += x;
        clippedSum += used;
        meanAdvantage += a / count;
      }
      const value = -meanAdvantage * Math.exp(Math.min(clippedSum / Math.max(count, 1e-300), 700));
      for (let k = start, t = 0; k < end; k++, t++) {
        loss[t] = mask[k] ? value : 0;
        grad[t] = loss[t] as number;
      }
      scratch.logRatio = sum;
      scratch.high = high;
      // verl reports clips at A < 0 under the name it uses for the dual clip.
      scratch.capped = low;
    },
  };
}
