import { groupNorm } from '../advantages/groupNorm.ts';
import type { RewardWeights } from '../advantages/input.ts';
import { sequenceMean } from '../aggregation.ts';
import { type Objective, objective } from '../objective.ts';
import { klPenalty } from '../regularisers/kl.ts';
import { clip } from '../surrogates/clip.ts';
import { checkOptions } from './options.ts';

export interface GrpoOptions {
  /** Lower clip bound. Default 0.2. */
  readonly epsilon?: number | undefined;
  /** Upper clip bound. Default: epsilon. */
  readonly epsilonHigh?: number | undefined;
  /** Two-sided clip. Default none. */
  readonly delta?: number | undefined;
  /** Weight of the k3 penalty; 0 needs no reference model. Default 0 (TRL; the paper has 0.04). */
  readonly beta?: number | undefined;
  /** Default `group`. */
  readonly scaleRewards?: 'group' | 'batch' | 'none' | undefined;
  readonly rewardWeights?: RewardWeights | undefined;
  /** Rollouts a prompt, for the driver. Default 8. */
  readonly numGenerations?: number | undefined;
}

/** GRPO (DeepSeekMath, arXiv 2402.03300) with TRL's numbers: σ + 1e-4, mean over sequences of token means. */
export function grpo(options: GrpoOptions = {}): Objective {
  checkOptions('grpo', options, ['epsilon', 'epsilonHigh', 'delta', 'beta', 'scaleRewards', 'rewardWeights', 'numGenerations']);
  const { beta = 0, scaleRewards = 'group', rewardWeights, numGenerations = 8, ...bounds } = options;
  return objective({
    name: 'grpo',
    advantage: groupNorm({ scale: scaleRewards }),
    rewardWeights,
    surrogate: clip(bounds),
    regularisers: beta === 0 ? [] : [klPenalty(beta)],
    aggregation: sequenceMean(),
    sampling: { numGenerations },
  });
}
