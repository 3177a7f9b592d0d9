import { checkNumber } from '../error.ts';
import { MAX_EXPONENT, saturate } from '../numeric/saturate.ts';
import { klEstimate } from '../regularisers/kl.ts';
import type { Surrogate } from './surrogate.ts';

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
  return {
    name: 'mdpo',
    needs: [],
    coupled: false,
    perSequence: false,
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, old } = scratch;
      const pair = new Float64Array(2);
      const end = offsets[i + 1] as number;
      let sum = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        if (!mask[k]) continue;
        const x = Math.max(Math.min((logps[k] as number) - (old[k] as number), MAX_EXPONENT), -1e300);
        sum += x;
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        klEstimate(logps[k] as number, old[k] as number, {}, pair);
        const surrogate = saturate(-Math.exp(x) * a);
        loss[t] = saturate(surrogate + (pair[0] as number) / stepSize);
        grad[t] = saturate(surrogate + (pair[1] as number) / stepSize);
      }
      scratch.logRatio = sum;
    },
  };
}
