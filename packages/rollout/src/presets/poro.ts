import { groupNorm } from '../advantages/groupNorm.ts';
import type { RewardWeights } from '../advantages/input.ts';
import { tokenMean } from '../aggregation.ts';
import { type Objective, objective } from '../objective.ts';
import { type PolicyRolloutOptions, poro } from '../poro/poro.ts';
import { klPenalty } from '../regularisers/kl.ts';
import { clip } from '../surrogates/clip.ts';
import { CLAMP_20 } from '../surrogates/logRatio.ts';
import { checkOptions } from './options.ts';

export interface PoroPresetOptions extends PolicyRolloutOptions {
  readonly epsilon?: number | undefined;
  readonly epsilonHigh?: number | undefined;
  /** Weight of k3. Default 0.01 for poroGrpo; poroDapo has none. */
  readonly beta?: number | undefined;
  /** poroDapo: retries of dynamic sampling. Default 20. */
  readonly maxRetries?: number | undefined;
  readonly rewardWeights?: RewardWeights | undefined;
  /** Rollouts of each half of a group. Default 8. */
  readonly numGenerations?: number | undefined;
}

const PORO_NAMES = ['ratioReference', 'baseline', 'offPolicyWeight', 'shapingGamma', 'dropNegativePolicyRows', 'epsilon', 'epsilonHigh', 'rewardWeights', 'numGenerations'];

/**
 * PolicyRollout on GRPO with the paper's values (arXiv 2510.09474): clip 0.2 / 0.3, k3 to the reference with β = 0.01.
 * What the paper leaves to its trainer is EasyR1's: σ + 1e-6, dual clip 3, token mean, k3 clamped at ±20 and 10.
 */
export function poroGrpo(options: PoroPresetOptions = {}): Objective {
  checkOptions('poroGrpo', options, [...PORO_NAMES, 'beta']);
  const { epsilon = 0.2, epsilonHigh = 0.3, beta = 0.01, rewardWeights, numGenerations = 8, maxRetries: _, ...twin } = options;
  return poro(
    objective({
      name: 'grpo',
      advantage: groupNorm({ epsilon: 1e-6 }),
      rewardWeights,
      surrogate: clip({ epsilon, epsilonHigh, dualClip: 3, logRatioClamp: CLAMP_20 }),
      regularisers: beta === 0 ? [] : [klPenalty(beta, { logRatioClamp: 20, valueClamp: 10 })],
      aggregation: tokenMean(),
      sampling: { numGenerations },
    }),
    twin,
  );
}

/** PolicyRollout on DAPO with the paper's values: clip 0.2 / 0.28, no KL, dynamic sampling with at most 20 retries. */
export function poroDapo(options: PoroPresetOptions = {}): Objective {
  checkOptions('poroDapo', options, [...PORO_NAMES, 'maxRetries']);
  const { epsilon = 0.2, epsilonHigh = 0.28, maxRetries = 20, rewardWeights, numGenerations = 8, beta: _, ...twin } = options;
  return poro(
    objective({
      name: 'dapo',
      advantage: groupNorm({ epsilon: 1e-6 }),
      rewardWeights,
      surrogate: clip({ epsilon, epsilonHigh, dualClip: 3, logRatioClamp: CLAMP_20 }),
      aggregation: tokenMean(),
      sampling: { numGenerations, dynamicSampling: { maxRetries } },
    }),
    twin,
  );
}
