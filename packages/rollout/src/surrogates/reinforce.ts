import type { Surrogate } from './surrogate.ts';
import { tokenwise, weightedLogLikelihood } from './tokenwise.ts';

/** REINFORCE (GPG, verl `gpg`): L = −A logp, dL/dlogp = −A. There is no ratio. */
export function reinforce(): Surrogate {
  return tokenwise({ name: 'reinforce', token: (scratch, _, t, __, a, logp) => weightedLogLikelihood(scratch, t, 1, a, logp) });
}
