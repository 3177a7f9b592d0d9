import { MAX_EXPONENT, saturate } from '../numeric/saturate.ts';
import type { Surrogate } from '../surrogates/surrogate.ts';

/**
 * LUFFY's ratio for rows sampled by another distribution (arXiv 2504.14945): the behaviour probability counts as 1, so
 * the ratio is p = π_θ(o | q), shaped and not clipped,
 *
 *   L = −f(p) A,   f(p) = p / (p + γ),   dL/dlogp = −γ p / (p + γ)² A;     f(p) = p without shaping (γ = null)
 */
export function shapedRatio(gamma: number | null): Surrogate {
  return {
    name: 'shapedRatio',
    needs: [],
    coupled: false,
    perSequence: false,
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, old } = scratch;
      const end = offsets[i + 1] as number;
      let sum = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        if (!mask[k]) continue;
        sum = saturate(sum + saturate((logps[k] as number) - (old[k] as number)));
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        const p = Math.exp(Math.min(logps[k] as number, MAX_EXPONENT));
        const f = gamma === null ? p : p / (p + gamma);
        loss[t] = -f * a;
        grad[t] = gamma === null ? -p * a : -(gamma / (p + gamma)) * f * a;
      }
      scratch.logRatio = sum;
    },
  };
}
