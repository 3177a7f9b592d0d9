import type { RewardWeights } from '../advantages/input.ts';
import { reinforcePlusPlusAdvantage } from '../advantages/reinforcePlusPlus.ts';
import { tokenMean } from '../aggregation.ts';
import { type Objective, objective } from '../objective.ts';
import { klPenalty } from '../regularisers/kl.ts';
import { clip } from '../surrogates/clip.ts';
import { checkOptions } from './options.ts';

export interface ReinforcePlusPlusOptions {
  readonly epsilon?: number | undefined;
  readonly epsilonHigh?: number | undefined;
  /** Subtract the group's mean before whitening (REINFORCE++-baseline, which also takes a k2 penalty). Default false. */
  readonly baseline?: boolean | undefined;
  /** Weight of the k2 penalty. Default 0. */
  readonly beta?: number | undefined;
  readonly rewardWeights?: RewardWeights | undefined;
  readonly numGenerations?: number | undefined;
}

/** REINFORCE++ (arXiv 2501.03262): rewards whitened over all tokens of the batch, token clip, token mean. */
export function reinforcePlusPlus(options: ReinforcePlusPlusOptions = {}): Objective {
  checkOptions('reinforcePlusPlus', options, ['epsilon', 'epsilonHigh', 'baseline', 'beta', 'rewardWeights', 'numGenerations']);
  const { baseline = false, beta = 0, rewardWeights, numGenerations = baseline ? 8 : 1, ...bounds } = options;
  return objective({
    name: 'reinforcePlusPlus',
    advantage: reinforcePlusPlusAdvantage({ baseline }),
    rewardWeights,
    surrogate: clip(bounds),
    regularisers: beta === 0 ? [] : [klPenalty(beta, { estimator: 'k2' })],
    aggregation: tokenMean(),
    sampling: { numGenerations },
  });
}
