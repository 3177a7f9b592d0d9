import { saturate } from '../numeric/saturate.ts';
import type { Surrogate } from './surrogate.ts';

/** REINFORCE (GPG, verl `gpg`): L = −A logp, dL/dlogp = −A. There is no ratio. */
export function reinforce(): Surrogate {
  return {
    name: 'reinforce',
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
        const g = saturate(-a);
        loss[t] = g * (logps[k] as number);
        grad[t] = g;
      }
      scratch.logRatio = sum;
    },
  };
}
