import { groupNorm } from '../advantages/groupNorm.ts';
import type { RewardWeights } from '../advantages/input.ts';
import { constantLength } from '../aggregation.ts';
import { type Objective, objective } from '../objective.ts';
import { klPenalty } from '../regularisers/kl.ts';
import { clip } from '../surrogates/clip.ts';
import { checkOptions } from './options.ts';

export interface DrGrpoOptions {
  /** The constant that replaces each answer's length. Default: the padded width of the batch. */
  readonly maxCompletionLength?: number | undefined;
  readonly epsilon?: number | undefined;
  readonly epsilonHigh?: number | undefined;
  readonly beta?: number | undefined;
  readonly rewardWeights?: RewardWeights | undefined;
  readonly numGenerations?: number | undefined;
}

/** Dr. GRPO (arXiv 2503.20783): no division by the deviation, and a constant length in place of each answer's. */
export function drGrpo(options: DrGrpoOptions = {}): Objective {
  checkOptions('drGrpo', options, ['maxCompletionLength', 'epsilon', 'epsilonHigh', 'beta', 'rewardWeights', 'numGenerations']);
  const { maxCompletionLength, beta = 0, rewardWeights, numGenerations = 8, ...bounds } = options;
  return objective({
    name: 'drGrpo',
    advantage: groupNorm({ scale: 'none' }),
    rewardWeights,
    surrogate: clip(bounds),
    regularisers: beta === 0 ? [] : [klPenalty(beta)],
    aggregation: constantLength({ maxCompletionLength }),
    sampling: { numGenerations },
  });
}
