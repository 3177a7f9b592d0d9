import { checkNumber } from '../error.ts';
import { toFinite } from '../numeric/saturate.ts';
import type { Modifier } from '../weights/modifier.ts';
import { scaleToken } from '../weights/modifier.ts';

/**
 * DeepSeek-V3.2's off-policy sequence mask (arXiv 2512.02556, TRL `off_policy_mask_threshold`): a row is kept iff
 * A ≥ 0 or mean_t(behaviour − logp) ≤ threshold. Without behaviorLogps the old ones stand in, as in TRL.
 */
export function offPolicySequenceMask(threshold: number): Modifier {
  checkNumber('threshold', threshold);
  return {
    name: 'offPolicySequenceMask',
    needs: [],
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const sampled = view.behaviorLogps ?? scratch.old;
      const start = offsets[i] as number;
      const end = offsets[i + 1] as number;
      let gap = 0;
      for (let k = start; k < end; k++) if (mask[k]) gap += (sampled[k] as number) - (logps[k] as number);
      if (toFinite(gap) / Math.max(view.counts[i] as number, 1) <= threshold) return;
      for (let k = start, t = 0; k < end; k++, t++) {
        if ((perToken ? (advantages[k] as number) : (advantages[i] as number)) < 0) scaleToken(scratch, t, 0);
      }
    },
  };
}
