import { toFinite } from '../numeric/saturate.ts';
import type { AdvantagePart } from './part.ts';

/** ReMax (arXiv 2310.10505): the reward minus the reward of the greedy answer to the same prompt. */
export function remaxAdvantage(): AdvantagePart {
  return {
    name: 'remax',
    needs: ['baselineRewards'],
    apply({ rewards, baselineRewards }, out) {
      for (let i = 0; i < rewards.length; i++) {
        const difference = (rewards[i] as number) - (baselineRewards?.[i] as number);
        out[i] = difference === difference ? toFinite(difference) : 0;
      }
    },
  };
}
