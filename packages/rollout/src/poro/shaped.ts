import { safeExp } from '../numeric/saturate.ts';
import type { Surrogate } from '../surrogates/surrogate.ts';
import { tokenwise } from '../surrogates/tokenwise.ts';

/**
 * LUFFY's ratio for rows sampled by another distribution (arXiv 2504.14945): the behaviour probability counts as 1, so
 * the ratio is p = π_θ(o | q), shaped and not clipped,
 *
 *   L = −f(p) A,   f(p) = p / (p + γ),   dL/dlogp = −γ p / (p + γ)² A;     f(p) = p without shaping (γ = null)
 */
export function shapedRatio(gamma: number | null): Surrogate {
  return tokenwise({
    name: 'shapedRatio',
    token({ loss, grad }, _, t, __, a, logp) {
      const p = safeExp(logp);
      const f = gamma === null ? p : p / (p + gamma);
      loss[t] = -f * a;
      grad[t] = gamma === null ? -p * a : -(gamma / (p + gamma)) * f * a;
    },
  });
}
