import { checkNumber } from '../error.ts';
import { MAX_EXPONENT } from '../numeric/saturate.ts';
import type { Surrogate } from './surrogate.ts';
import { tokenwise, weightedLogLikelihood } from './tokenwise.ts';

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
  return tokenwise({
    name: 'dispo',
    clamp: { max: MAX_EXPONENT },
    token(scratch, _, t, x, a, logp) {
      const r = Math.exp(x);
      const floor = 1 - (a > 0 ? positiveLow : negativeLow);
      const ceiling = 1 + (a > 0 ? positiveHigh : negativeHigh);
      if (r < floor) scratch.low++;
      if (r > ceiling) scratch.high++;
      weightedLogLikelihood(scratch, t, Math.min(Math.max(r, floor), ceiling), a, logp);
    },
  });
}
