import { checkNumber } from '../error.ts';
import { MAX_EXPONENT, saturate } from '../numeric/saturate.ts';
import type { Surrogate } from './surrogate.ts';

export interface DispoOptions {
  /** Bounds 1 − low, 1 + high of the weight at A > 0. Defaults 0.2 and 10. */
  readonly positiveLow?: number | undefined;
  readonly positiveHigh?: number | undefined;
  /** At A < 0. Defaults 1 and 100. */
  readonly negativeLow?: number | undefined;
  readonly negativeHigh?: number | undefined;
}

/**
 * DISPO (arXiv 2602.00983): REINFORCE with a detached importance weight clipped by four bounds, two for each sign of A,
 *
 *   L = −sg[clip(r, low, high)] A logp,     dL/dlogp = −clip(r, low, high) A
 *
 * With one pair of bounds it is CISPO.
 */
export function dispo({ positiveLow = 0.2, positiveHigh = 10, negativeLow = 1, negativeHigh = 100 }: DispoOptions = {}): Surrogate {
  for (const [name, value] of Object.entries({ positiveLow, positiveHigh, negativeLow, negativeHigh })) checkNumber(name, value, 0);
  return {
    name: 'dispo',
    needs: [],
    coupled: false,
    perSequence: false,
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, old } = scratch;
      const end = offsets[i + 1] as number;
      let low = 0;
      let high = 0;
      let sum = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        if (!mask[k]) continue;
        const x = Math.min((logps[k] as number) - (old[k] as number), MAX_EXPONENT);
        sum += Math.max(x, -1e300);
        const r = Math.exp(x);
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        const floor = 1 - (a > 0 ? positiveLow : negativeLow);
        const ceiling = 1 + (a > 0 ? positiveHigh : negativeHigh);
        const weight = r < floor ? floor : r > ceiling ? ceiling : r;
        if (r < floor) low++;
        if (r > ceiling) high++;
        const g = saturate(-weight * a);
        loss[t] = g * (logps[k] as number);
        grad[t] = g;
      }
      scratch.low = low;
      scratch.high = high;
      scratch.logRatio = sum;
    },
  };
}
