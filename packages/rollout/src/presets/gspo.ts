import { groupNorm } from '../advantages/groupNorm.ts';
import type { RewardWeights } from '../advantages/input.ts';
import { sequenceMean } from '../aggregation.ts';
import { type Objective, objective } from '../objective.ts';
import { klPenalty } from '../regularisers/kl.ts';
import { clip } from '../surrogates/clip.ts';
import { checkOptions } from './options.ts';

export interface GspoOptions {
  /** Default 3e-4. */
  readonly epsilon?: number | undefined;
  /** Default 4e-4. */
  readonly epsilonHigh?: number | undefined;
  /** `sequence` (default), or `sequence-token`: the same value with each token's own gradient. */
  readonly level?: 'sequence' | 'sequence-token' | undefined;
  readonly beta?: number | undefined;
  readonly rewardWeights?: RewardWeights | undefined;
  readonly numGenerations?: number | undefined;
}

/** GSPO (arXiv 2507.18071): one ratio a sequence, the geometric mean of its tokens', clipped very near 1. */
export function gspo(options: GspoOptions = {}): Objective {
  checkOptions('gspo', options, ['epsilon', 'epsilonHigh', 'level', 'beta', 'rewardWeights', 'numGenerations']);
  const { epsilon = 3e-4, epsilonHigh = 4e-4, level = 'sequence', beta = 0, rewardWeights, numGenerations = 8 } = options;
  return objective({
    name: 'gspo',
    advantage: groupNorm(),
    rewardWeights,
    surrogate: clip({ epsilon, epsilonHigh, level }),
    regularisers: beta === 0 ? [] : [klPenalty(beta)],
    aggregation: sequenceMean(),
    sampling: { numGenerations },
  });
}
