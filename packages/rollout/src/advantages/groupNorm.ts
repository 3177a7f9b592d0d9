import { checkChoice, checkNumber } from '../error.ts';
import { centre, moments, standardise } from '../numeric/moments.ts';
import { toFinite } from '../numeric/saturate.ts';
import { everyRow } from './rows.ts';
import type { AdvantageContext } from './input.ts';
import type { AdvantagePart } from './part.ts';

export interface GroupNormOptions {
  /** Divide by the group's deviation, the batch's (of the rewards, or of the centred ones), or nothing (Dr. GRPO). Default `group`. */
  readonly scale?: 'group' | 'batch' | 'centred-batch' | 'none' | undefined;
  /** Added to the deviation. TRL 1e-4 (default), verl and EasyR1 1e-6, OpenRLHF 1e-9. */
  readonly epsilon?: number | undefined;
  /** A group with a single reward: `zero` (TRL), or `raw`, mean 0 and deviation 1 (verl). Default `zero`. */
  readonly singleton?: 'zero' | 'raw' | undefined;
}

/**
 * Group-relative advantages.
 *
 *   A = (r − μ_g) / (σ_g + ε)            scale 'group'   GRPO, arXiv 2402.03300
 *   A = (r − μ_g) / (σ_batch + ε)        scale 'batch'   TRL scale_rewards="batch": σ of the raw rewards
 *   A = (r − μ_g) / (σ_batch(r − μ_g) + ε)   scale 'centred-batch'   ms-swift reinforce_plus_plus with scale "batch"
 *   A = r − μ_g                          scale 'none'    Dr. GRPO, arXiv 2503.20783
 *
 * σ has divisor n − 1. Equal rewards give exactly 0.
 */
export function groupNorm({ scale = 'group', epsilon = 1e-4, singleton = 'zero' }: GroupNormOptions = {}): AdvantagePart {
  checkChoice('scaleRewards', scale, ['group', 'batch', 'centred-batch', 'none'] as const);
  checkNumber('epsilon', epsilon, 0);
  return {
    name: 'groupNorm',
    needs: [],
    apply(context, out) {
      if (scale === 'centred-batch') return centredBatch(context, epsilon, singleton, out);
      const { rewards, groups, baselineRows } = context;
      const batch = scale === 'batch' ? moments(rewards, everyRow(rewards.length)) : undefined;
      for (let g = 0; g < groups.length; g++) {
        const rows = groups[g] as Int32Array;
        const base = baselineRows[g] as Int32Array;
        const m = moments(rewards, base);
        const partial = base !== rows;
        for (const i of rows) {
          const r = rewards[i] as number;
          // A baseline without a reward says nothing of its group.
          if (r !== r || m.count === 0) out[i] = 0;
          else if (m.count === 1 && !partial) out[i] = singleton === 'zero' ? 0 : scale === 'group' ? r / (1 + epsilon) : r;
          else if (partial && m.equal) {
            // A baseline of equal rewards: the deviation counts as 1, as LUFFY's split baseline does.
            const difference = toFinite(r - m.mean);
            if (scale === 'group') out[i] = difference / (1 + epsilon);
            else out[i] = batch === undefined ? difference : toFinite((difference * batch.scale) / (batch.sd + epsilon * batch.scale));
          } else if (scale === 'group') out[i] = toFinite(standardise(r, m, epsilon));
          else if (batch === undefined) out[i] = centre(r, m);
          else out[i] = batch.equal ? 0 : toFinite((centre(r, m) * batch.scale) / (batch.sd + epsilon * batch.scale));
        }
      }
    },
  };
}

/** Centred in the groups, then divided by the deviation of what that gave. */
function centredBatch(context: AdvantageContext, epsilon: number, singleton: 'zero' | 'raw', out: Float64Array): void {
  groupNorm({ scale: 'none', singleton }).apply(context, out);
  const m = moments(out, everyRow(out.length).filter((i) => !Number.isNaN(context.rewards[i] as number)));
  for (let i = 0; i < out.length; i++) out[i] = m.equal ? 0 : toFinite(((out[i] as number) * m.scale) / (m.sd + epsilon * m.scale));
}
