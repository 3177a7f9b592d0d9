import { RolloutError } from '../error.ts';
import { moments } from '../numeric/moments.ts';
import { toFinite } from '../numeric/saturate.ts';
import type { AdvantagePart } from './part.ts';

export interface PassAtKOptions {
  /** Divide by σ_g + epsilon. Default true. */
  readonly normalize?: boolean | undefined;
  /** Default 1e-6 (verl, EasyR1). */
  readonly epsilon?: number | undefined;
}

/**
 * Pass@k advantages (arXiv 2503.19595, verl `grpo_passk`): only a group's best rollout is pushed, by its lead,
 *
 *   A_best = (r_max − r_second) / (σ_g + ε),   0 for the others, and where a group has one reward only
 */
export function passAtK({ normalize = true, epsilon = 1e-6 }: PassAtKOptions = {}): AdvantagePart {
  return {
    name: 'passAtK',
    needs: [],
    apply({ rewards, groups }, out) {
      for (const rows of groups) {
        const m = moments(rewards, rows);
        let best = -1;
        let second = -Infinity;
        for (const i of rows) {
          const r = rewards[i] as number;
          out[i] = 0;
          if (r !== r) continue;
          if (best < 0 || r > (rewards[best] as number)) {
            if (best >= 0) second = rewards[best] as number;
            best = i;
          } else if (r > second) second = r;
        }
        if (best < 0) continue;
        if (rows.length < 2) {
          throw new RolloutError('invalid-argument', 'groupIds', m.count, 'pass@k compares the best with the second best of a group', 'Sample at least 2 rollouts a group.');
        }
        const lead = ((rewards[best] as number) * m.scale - second * m.scale);
        out[best] = m.equal || m.count < 2 ? 0 : toFinite(normalize ? lead / (m.sd + epsilon * m.scale) : lead / m.scale);
      }
    },
  };
}
