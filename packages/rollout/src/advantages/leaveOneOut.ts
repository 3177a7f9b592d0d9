import { centre, moments, standardise } from '../numeric/moments.ts';
import { toFinite } from '../numeric/saturate.ts';
import type { AdvantagePart } from './part.ts';
import { everyRow } from './rows.ts';

export interface LeaveOneOutOptions {
  /** Whiten the advantages over the batch afterwards (TRL `normalize_advantages`, ε 1e-4). Default false. */
  readonly normalizeAdvantages?: boolean | undefined;
  /** A group with a single reward: `zero` (TRL, verl `rloo_vectorized`) or `raw` (verl `rloo`). Default `zero`. */
  readonly singleton?: 'zero' | 'raw' | undefined;
  /** Divide by the deviation of the group's or the batch's rewards (ms-swift). Default `none`. */
  readonly scale?: 'group' | 'batch' | 'none' | undefined;
}

/**
 * Leave-one-out baseline (RLOO, arXiv 2402.14740): each reward minus the mean of its siblings',
 *
 *   A = r − (Σ_g r − r)/(G − 1) = G/(G − 1) · (r − μ_g)
 */
export function leaveOneOut({ normalizeAdvantages = false, singleton = 'zero', scale = 'none' }: LeaveOneOutOptions = {}): AdvantagePart {
  return {
    name: 'leaveOneOut',
    needs: [],
    apply({ rewards, groups }, out) {
      const batch = scale === 'batch' ? moments(rewards, everyRow(rewards.length)) : undefined;
      for (const rows of groups) {
        const m = moments(rewards, rows);
        for (const i of rows) {
          const r = rewards[i] as number;
          if (r !== r || m.count === 1) out[i] = r === r && singleton === 'raw' ? r : 0;
          else {
            const factor = m.count / (m.count - 1);
            const divisor = batch ?? m;
            if (scale === 'group') out[i] = toFinite(factor * standardise(r, m, 1e-4));
            else if (scale === 'batch') out[i] = divisor.equal ? 0 : toFinite(factor * ((centre(r, m) * divisor.scale) / (divisor.sd + 1e-4 * divisor.scale)));
            else out[i] = toFinite(factor * centre(r, m));
          }
        }
      }
      if (!normalizeAdvantages) return;
      const scored = everyRow(rewards.length).filter((i) => !Number.isNaN(rewards[i] as number));
      const m = moments(out, scored);
      for (const i of scored) out[i] = standardise(out[i] as number, m, 1e-4);
    },
  };
}
