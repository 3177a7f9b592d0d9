import type { RewardWeights } from '../advantages/input.ts';
import { leaveOneOut } from '../advantages/leaveOneOut.ts';
import { sequenceMean } from '../aggregation.ts';
import { type Objective, objective } from '../objective.ts';
import { clip } from '../surrogates/clip.ts';
import { rlooEmptyRows } from '../surrogates/emptyRows.ts';
import { checkOptions } from './options.ts';

export interface RlooOptions {
  readonly epsilon?: number | undefined;
  readonly epsilonHigh?: number | undefined;
  /** Whiten the advantages over the batch. Default false. */
  readonly normalizeAdvantages?: boolean | undefined;
  readonly rewardWeights?: RewardWeights | undefined;
  readonly numGenerations?: number | undefined;
}

/**
 * RLOO (arXiv 2402.14740) as TRL's RLOOTrainer: leave-one-out baseline, one clipped ratio of the whole sequence (the
 * product of its tokens'), mean over all rows, of which one without an active token counts −A. Its KL belongs in the
 * reward: see `klInReward`.
 */
export function rloo(options: RlooOptions = {}): Objective {
  checkOptions('rloo', options, ['epsilon', 'epsilonHigh', 'normalizeAdvantages', 'rewardWeights', 'numGenerations']);
  const { normalizeAdvantages = false, rewardWeights, numGenerations = 2, ...bounds } = options;
  return objective({
    name: 'rloo',
    advantage: leaveOneOut({ normalizeAdvantages }),
    rewardWeights,
    surrogate: clip({ ...bounds, level: 'product' }),
    aggregation: sequenceMean(),
    emptyRows: rlooEmptyRows,
    sampling: { numGenerations },
  });
}
