import { checkNumber } from '../error.ts';
import { saturate } from '../numeric/saturate.ts';
import type { Surrogate } from './surrogate.ts';

/**
 * DRO (arXiv 2405.19107, verl `dro`): L = −(A logp − β/2 Δ²) with Δ = logp − old; dL/dlogp = −(A − β Δ).
 *
 * @param beta weight of the quadratic term.
 */
export function dro(beta: number): Surrogate {
  checkNumber('beta', beta, 0);
  return {
    name: 'dro',
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
        const x = saturate((logps[k] as number) - (old[k] as number));
        sum += x;
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        loss[t] = saturate(saturate((beta / 2) * x * x) - saturate(a * (logps[k] as number)));
        grad[t] = saturate(saturate(beta * x) - saturate(a));
      }
      scratch.logRatio = sum;
    },
  };
}
