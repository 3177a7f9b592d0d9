import { centre, moments } from '../numeric/moments.ts';
import { toFinite } from '../numeric/saturate.ts';
import type { AdvantagePart } from './part.ts';

/**
 * GPG (arXiv 2504.02546, verl `gpg`): centred rewards, made larger by the share of rollouts with a reward other than 0,
 *
 *   A = α (r − μ_g),   α = N / #(r ≠ 0)
 */
export function groupPolicyGradient(): AdvantagePart {
  return {
    name: 'groupPolicyGradient',
    needs: [],
    apply({ rewards, groups }, out) {
      let scored = 0;
      let nonZero = 0;
      for (const r of rewards) {
        if (r !== r) continue;
        scored++;
        if (r !== 0) nonZero++;
      }
      const alpha = scored / Math.max(nonZero, 1);
      for (const rows of groups) {
        const m = moments(rewards, rows);
        for (const i of rows) {
          const r = rewards[i] as number;
          out[i] = r !== r ? 0 : toFinite(alpha * (m.count === 1 ? r : centre(r, m)));
        }
      }
    },
  };
}
