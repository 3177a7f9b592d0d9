import { checkNumber } from '../error.ts';
import { saturate } from '../numeric/saturate.ts';
import type { Surrogate } from './surrogate.ts';
import { tokenwise } from './tokenwise.ts';

/**
 * DRO (arXiv 2405.19107, verl `dro`): L = −(A logp − β/2 Δ²) with Δ = logp − old; dL/dlogp = −(A − β Δ).
 *
 * @param beta weight of the quadratic term.
 */
export function dro(beta: number): Surrogate {
  checkNumber('beta', beta, 0);
  return tokenwise({
    name: 'dro',
    token({ loss, grad }, _, t, x, a, logp) {
      loss[t] = saturate(saturate((beta / 2) * x * x) - saturate(a * logp));
      grad[t] = saturate(saturate(beta * x) - saturate(a));
    },
  });
}
