import { checkNumber } from '../error.ts';
import { MAX_EXPONENT, saturate } from '../numeric/saturate.ts';
import { klEstimate } from '../regularisers/kl.ts';
import type { Surrogate } from './surrogate.ts';
import { tokenwise } from './tokenwise.ts';

/**
 * Mirror descent policy optimisation (arXiv 2005.09814) in its form for language models: no clip, but a proximal term
 * towards the policy the step started from,
 *
 *   L = −r A + (1 / t) k3(logp, old),     dL/dlogp = −r A + (1 / t)(1 − e^{old − logp})
 *
 * @param stepSize t, the size of the mirror step.
 */
export function mdpo(stepSize: number): Surrogate {
  checkNumber('stepSize', stepSize, 1e-12);
  const pair = new Float64Array(2);
  return tokenwise({
    name: 'mdpo',
    clamp: { max: MAX_EXPONENT },
    token({ loss, grad, old }, k, t, x, a, logp) {
      klEstimate(logp, old[k] as number, {}, pair);
      const surrogate = saturate(-Math.exp(x) * a);
      loss[t] = saturate(surrogate + (pair[0] as number) / stepSize);
      grad[t] = saturate(surrogate + (pair[1] as number) / stepSize);
    },
  });
}
