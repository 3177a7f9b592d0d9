import { groupNorm } from '../advantages/groupNorm.ts';
import type { RewardWeights } from '../advantages/input.ts';
import { tokenMean } from '../aggregation.ts';
import { type Objective, objective } from '../objective.ts';
import { clip } from '../surrogates/clip.ts';
import { checkOptions } from './options.ts';

export interface DapoOptions {
  /** Default 0.2. */
  readonly epsilon?: number | undefined;
  /** Clip-higher. Default 0.28. */
  readonly epsilonHigh?: number | undefined;
  /** Dynamic sampling: how often a prompt whose rewards are all equal is replaced. Default 20. */
  readonly maxRetries?: number | undefined;
  readonly rewardWeights?: RewardWeights | undefined;
  readonly numGenerations?: number | undefined;
}

/** DAPO (arXiv 2503.14476): clip-higher, mean over all tokens of the step, no KL, dynamic sampling. */
export function dapo(options: DapoOptions = {}): Objective {
  checkOptions('dapo', options, ['epsilon', 'epsilonHigh', 'maxRetries', 'rewardWeights', 'numGenerations']);
  const { epsilon = 0.2, epsilonHigh = 0.28, maxRetries = 20, rewardWeights, numGenerations = 16 } = options;
  return objective({
    name: 'dapo',
    advantage: groupNorm(),
    rewardWeights,
    surrogate: clip({ epsilon, epsilonHigh }),
    aggregation: tokenMean(),
    sampling: { numGenerations, dynamicSampling: { maxRetries } },
  });
}
