import { groupNorm } from '../advantages/groupNorm.ts';
import type { RewardWeights } from '../advantages/input.ts';
import { tokenMean } from '../aggregation.ts';
import { type Objective, objective } from '../objective.ts';
import { klPenalty } from '../regularisers/kl.ts';
import { cispoSurrogate } from '../surrogates/cispo.ts';
import { checkOptions } from './options.ts';

export interface CispoPresetOptions {
  /** Largest importance weight, an absolute ratio. Default 5 (ScaleRL; TRL's own default of 0.2 shrinks every token). */
  readonly epsilonHigh?: number | undefined;
  readonly beta?: number | undefined;
  readonly rewardWeights?: RewardWeights | undefined;
  readonly numGenerations?: number | undefined;
}

/** CISPO (MiniMax-M1, arXiv 2506.13585): detached, capped importance weights, mean over all tokens. */
export function cispo(options: CispoPresetOptions = {}): Objective {
  checkOptions('cispo', options, ['epsilonHigh', 'beta', 'rewardWeights', 'numGenerations']);
  const { epsilonHigh = 5, beta = 0, rewardWeights, numGenerations = 8 } = options;
  return objective({
    name: 'cispo',
    advantage: groupNorm(),
    rewardWeights,
    surrogate: cispoSurrogate({ high: epsilonHigh, clipCount: 'positive' }),
    regularisers: beta === 0 ? [] : [klPenalty(beta)],
    aggregation: tokenMean(),
    sampling: { numGenerations },
  });
}
