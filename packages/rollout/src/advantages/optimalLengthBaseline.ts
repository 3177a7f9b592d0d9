import { RolloutError } from '../error.ts';
import { toFinite } from '../numeric/saturate.ts';
import { moments } from '../numeric/moments.ts';
import type { AdvantagePart } from './part.ts';

/**
 * OPO (arXiv 2505.23585, verl `opo`): the baseline is the length-weighted mean of the group,
 *
 *   A = r − Σ_g T_i r_i / Σ_g T_i
 *
 * A group with a single reward keeps it, as in verl.
 */
export function optimalLengthBaseline(): AdvantagePart {
  return {
    name: 'optimalLengthBaseline',
    needs: ['lengths'],
    apply({ rewards, groups, lengths }, out) {
      for (const rows of groups) {
        const m = moments(rewards, rows);
        let weighted = 0;
        let tokens = 0;
        for (const i of rows) {
          const r = rewards[i] as number;
          if (r !== r) continue;
          weighted += (lengths?.[i] as number) * (r * m.scale);
          tokens += lengths?.[i] as number;
        }
        if (tokens === 0 && !m.equal) {
          throw new RolloutError('invalid-argument', 'lengths', 0, 'a group has no active token', 'Leave groups without tokens out of the batch.');
        }
        for (const i of rows) {
          const r = rewards[i] as number;
          if (r !== r) out[i] = 0;
          else if (m.count === 1) out[i] = r;
          else out[i] = m.equal ? 0 : toFinite((r * m.scale - weighted / tokens) / m.scale);
        }
      }
    },
  };
}
