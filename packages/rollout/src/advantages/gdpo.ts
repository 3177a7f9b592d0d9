import { moments, standardise } from '../numeric/moments.ts';
import { everyRow } from './rows.ts';
import type { AdvantagePart } from './part.ts';
import { tokenMoments, whiten } from './whiten.ts';

export interface GdpoOptions {
  /** Added to both deviations. TRL 1e-4 (default), ms-swift 1e-8; verl 1e-6 for the group. */
  readonly epsilon?: number | undefined;
  /** `sequences`: the batch is whitened over rollouts (TRL). `tokens`: over tokens, so long answers weigh more (verl). */
  readonly over?: 'sequences' | 'tokens' | undefined;
  /** A group with a single reward: `zero` (TRL), or `raw`, mean 0 and deviation 1 (verl). Default `zero`. */
  readonly singleton?: 'zero' | 'raw' | undefined;
}

/**
 * GDPO (arXiv 2601.05242), in both published forms: each reward is normalised in its group, then they are added with
 * their weights, then the batch is whitened.
 *
 *   z_k = (r_k − μ_{g,k}) / (σ_{g,k} + ε)      s = Σ_k w_k z_k      A = (s − mean s) / (σ(s) + ε)
 */
export function gdpo({ epsilon = 1e-4, over = 'sequences', singleton = 'zero' }: GdpoOptions = {}): AdvantagePart {
  return {
    name: 'gdpo',
    needs: over === 'tokens' ? ['lengths'] : [],
    apply({ columns, weights, rewards, groups, lengths }, out) {
      out.fill(0);
      columns.forEach((column, k) => {
        for (const rows of groups) {
          const m = moments(column, rows);
          for (const i of rows) {
            const r = column[i] as number;
            if (r === r) out[i] = (out[i] as number) + (weights[k] as number) * (m.count === 1 && singleton === 'raw' ? r / (1 + epsilon) : standardise(r, m, epsilon));
          }
        }
      });
      const scored = everyRow(rewards.length).filter((i) => !Number.isNaN(rewards[i] as number));
      if (over === 'tokens') {
        const m = tokenMoments(out, lengths as Float64Array, scored, 1e-8);
        for (const i of scored) out[i] = whiten(out[i] as number, m);
        return;
      }
      const m = moments(out, scored);
      for (const i of scored) out[i] = standardise(out[i] as number, m, epsilon);
    },
  };
}
