import { clipRewards } from '../advantages/clipRange.ts';
import { gdpo } from '../advantages/gdpo.ts';
import { groupNorm } from '../advantages/groupNorm.ts';
import type { RewardWeights } from '../advantages/input.ts';
import { leaveOneOut } from '../advantages/leaveOneOut.ts';
import { type Aggregation, constantLength, sequenceMean, tokenMean } from '../aggregation.ts';
import type { TokenView } from '../batch/view.ts';
import { RolloutError, checkChoice } from '../error.ts';
import { trlMetrics } from '../metrics/trl.ts';
import { type Objective, objective } from '../objective.ts';
import { entropyBonus } from '../regularisers/entropyBonus.ts';
import { biasCorrectedKl, klPenalty } from '../regularisers/kl.ts';
import { entropyMask } from '../selectors/entropyMask.ts';
import { offPolicySequenceMask } from '../selectors/offPolicySequenceMask.ts';
import { cispoSurrogate } from '../surrogates/cispo.ts';
import { clip } from '../surrogates/clip.ts';
import { rlooEmptyRows } from '../surrogates/emptyRows.ts';
import { softGate } from '../surrogates/softGate.ts';
import type { Surrogate } from '../surrogates/surrogate.ts';
import { vespo } from '../surrogates/vespo.ts';
import { type ImportanceOptions, importanceWeights, rowWeight, tokenWeight } from '../weights/importance.ts';
import type { Modifier } from '../weights/modifier.ts';
import { GRPO_ONLY, TRL_IGNORED, TRL_OPTIONS } from './trlNames.ts';
import { ConfigReader } from './reader.ts';

const LOSS_TYPES = ['grpo', 'bnpo', 'dr_grpo', 'dapo', 'cispo', 'sapo', 'luspo', 'vespo'] as const;

/**
 * An objective with the numbers of TRL's GRPOTrainer (or RLOOTrainer, when the configuration holds
 * `normalize_advantages` or `reward_clip_range`), from a GRPOConfig's own option names. `epsilon_low` is understood as
 * `epsilon`. Follows TRL at commit f2cd5771 (July 2026).
 *
 * RLOO's `beta` is a penalty in the reward, which is the caller's (`klInReward`): it is refused. TRL clips rewards before
 * it subtracts the penalty: with both, clip first by hand and leave `reward_clip_range` out.
 *
 * The sampler's correction is on where TRL has it on (`use_vllm`), or where a `vllm_importance_sampling_*` option is
 * given; then `behaviorLogps` is needed.
 *
 * @throws RolloutError `unknown-option` with the nearest right name; `not-supported` for options of GRPOConfig beside
 *   RLOO's, and for RLOO's `beta`.
 */
export function fromTrl(config: object): Objective {
  const read = new ConfigReader('fromTrl', config, TRL_OPTIONS, TRL_IGNORED, []);
  const epsilon = read.optionalNumber('epsilon', 0) ?? read.number('epsilon_low', 0.2, 0);
  if (read.has('epsilon') && read.has('epsilon_low') && read.raw('epsilon_low') !== epsilon) {
    throw new RolloutError('invalid-argument', 'fromTrl.epsilon_low', read.raw('epsilon_low'), `is the same option as epsilon, which is ${epsilon}`, 'Give one of the two.');
  }
  const epsilonHigh = read.number('epsilon_high', epsilon, 0);
  const beta = read.optionalNumber('beta', 0);
  const rewardWeights = readWeights(read);
  const masking = read.boolean('mask_truncated_completions', false) ? { maskTruncatedCompletions: true } : {};
  if (read.raw('normalize_advantages') !== undefined || read.raw('reward_clip_range') !== undefined) {
    for (const name of GRPO_ONLY) {
      if ((name === 'entropy_coef' && read.raw(name) === 0) || (name === 'top_entropy_quantile' && read.raw(name) === 1)) continue;
      read.refuse(name, 'is an option of GRPOConfig, and normalize_advantages and reward_clip_range are of RLOOConfig', 'Give the options of one of the two.');
    }
    if (beta !== undefined && beta > 0) read.refuse('beta', 'is a penalty in the reward, and rewards come in ready', `Leave it out and pass klInReward({ rewards, … }, ${beta}) to advantages().`);
    return objective({
      name: 'trl/rloo',
      advantage: clipRewards(leaveOneOut({ normalizeAdvantages: read.boolean('normalize_advantages', false) }), read.optionalRange('reward_clip_range')),
      rewardWeights,
      surrogate: clip({ epsilon, epsilonHigh, level: 'product' }),
      aggregation: sequenceMean(),
      emptyRows: rlooEmptyRows,
      metrics: trlMetrics({ float32: true }),
      sampling: { numGenerations: read.number('num_generations', 2, 1), ...masking },
    });
  }
  const numGenerations = read.number('num_generations', 8, 1);
  const lossType = read.choice('loss_type', 'dapo', LOSS_TYPES);
  const level = read.choice('importance_sampling_level', 'token', ['token', 'sequence', 'sequence_token'] as const);
  const sampler = readSampler(read);
  const topEntropyQuantile = read.number('top_entropy_quantile', 1, 0, 1);
  const entropyCoef = read.number('entropy_coef', 0);
  const klCoef = beta ?? 0;
  const aggregation = readAggregation(read, lossType);
  // The mean over the tokens it acts on; where the loss is divided by all tokens of the step, so is the bonus.
  const bonus = { topEntropyQuantile, ...(lossType === 'dapo' || lossType === 'cispo' || lossType === 'vespo' ? { aggregation } : {}) };
  return objective({
    name: `trl/${lossType}`,
    advantage: read.choice('multi_objective_aggregation', 'sum_then_normalize', ['sum_then_normalize', 'normalize_then_sum'] as const) === 'normalize_then_sum' ? gdpo() : groupNorm({ scale: readScale(read) }),
    rewardWeights,
    surrogate: readSurrogate(read, lossType, level, epsilon, epsilonHigh, sampler),
    modifiers: readModifiers(read, topEntropyQuantile, lossType === 'vespo' ? undefined : sampler),
    regularisers: klCoef === 0 ? [] : [read.boolean('use_bias_correction_kl', false) ? biasCorrectedKl(klCoef, level === 'token' ? 'token' : 'sequence') : klPenalty(klCoef)],
    entropyBonus: entropyCoef === 0 && !read.boolean('use_adaptive_entropy', false) ? undefined : entropyBonus(entropyCoef, bonus),
    aggregation,
    metrics: trlMetrics({ float32: true }),
    sampling: { numGenerations, ...masking },
  });
}

function readWeights(read: ConfigReader): RewardWeights | undefined {
  const weights = read.raw('reward_weights');
  return weights === undefined || weights === null ? undefined : (weights as RewardWeights);
}

function readScale(read: ConfigReader): 'group' | 'batch' | 'none' {
  const scale = read.raw('scale_rewards');
  if (scale === true || scale === undefined || scale === null) return 'group';
  if (scale === false) return 'none';
  return checkChoice('fromTrl.scale_rewards', scale, ['group', 'batch', 'none'] as const);
}

function readSurrogate(read: ConfigReader, lossType: (typeof LOSS_TYPES)[number], level: 'token' | 'sequence' | 'sequence_token', epsilon: number, epsilonHigh: number, sampler: ImportanceOptions | undefined): Surrogate {
  const plainLevel = level === 'token' ? 'token' : 'sequence';
  if (lossType === 'cispo') return cispoSurrogate({ high: epsilonHigh, level: plainLevel, clipCount: 'positive' });
  if (lossType === 'sapo') {
    return softGate({
      tauPositive: read.number('sapo_temperature_pos', 1, Number.MIN_VALUE),
      tauNegative: read.number('sapo_temperature_neg', 1.05, Number.MIN_VALUE),
      level: plainLevel,
    });
  }
  if (lossType === 'vespo') {
    return vespo({
      kPositive: read.number('vespo_k_pos', 2),
      lambdaPositive: read.number('vespo_lambda_pos', 3),
      kNegative: read.number('vespo_k_neg', 3),
      lambdaNegative: read.number('vespo_lambda_neg', 2),
      ...(sampler === undefined ? {} : { samplerLogWeight: (view: TokenView, i: number) => samplerLogWeight(view, i, sampler) }),
    });
  }
  return clip({ epsilon, epsilonHigh, delta: read.optionalNumber('delta', 0), level: level === 'sequence_token' ? 'sequence-token' : level });
}

/** Σ_t log of the row's sampler weights, each at least log 1e-8 and at most 20: VESPO takes them into its own weight. */
function samplerLogWeight(view: TokenView, i: number, sampler: ImportanceOptions): number {
  const row = rowWeight(view, i, sampler);
  if (sampler.level === 'sequence') return clampLog(row);
  let sum = 0;
  for (let k = view.offsets[i] as number; k < (view.offsets[i + 1] as number); k++) if (view.mask[k]) sum += clampLog(tokenWeight(view, k, row, sampler));
  return sum;
}

function clampLog(w: number): number {
  return Math.min(Math.max(Math.log(w), Math.log(1e-8)), 20);
}

function readSampler(read: ConfigReader): ImportanceOptions | undefined {
  const asked = ['vllm_importance_sampling_correction', 'vllm_importance_sampling_mode', 'vllm_importance_sampling_clip_max', 'vllm_importance_sampling_clip_min', 'vllm_importance_sampling_cap'].some((name) => read.has(name));
  if (!read.boolean('use_vllm', asked) || !read.boolean('vllm_importance_sampling_correction', true)) return undefined;
  const mode = read.choice('vllm_importance_sampling_mode', 'sequence_mask', ['token_truncate', 'token_mask', 'sequence_truncate', 'sequence_mask'] as const);
  const noBound = read.raw('vllm_importance_sampling_clip_max') === null;
  return {
    level: mode.startsWith('token') ? 'token' : 'sequence',
    mode: mode.endsWith('mask') ? 'mask' : 'truncate',
    min: read.optionalNumber('vllm_importance_sampling_clip_min', 0),
    max: noBound ? undefined : (read.optionalNumber('vllm_importance_sampling_clip_max', 0) ?? read.number('vllm_importance_sampling_cap', 3, 0)),
  };
}

function readModifiers(read: ConfigReader, topEntropyQuantile: number, sampler: ImportanceOptions | undefined): Modifier[] {
  const modifiers: Modifier[] = [];
  const threshold = read.optionalNumber('off_policy_mask_threshold');
  if (threshold !== undefined) modifiers.push(offPolicySequenceMask(threshold));
  if (topEntropyQuantile < 1) modifiers.push(entropyMask(topEntropyQuantile) as Modifier);
  if (sampler !== undefined) modifiers.push(importanceWeights(sampler) as Modifier);
  return modifiers;
}

function readAggregation(read: ConfigReader, lossType: (typeof LOSS_TYPES)[number]): Aggregation {
  switch (lossType) {
    case 'grpo':
    case 'sapo':
      return sequenceMean();
    case 'bnpo':
      return tokenMean({ local: true });
    case 'dr_grpo':
      return constantLength({ maxCompletionLength: read.number('max_completion_length', 512, 1) });
    case 'luspo':
      return sequenceMean({ tokens: 'sum' });
    case 'dapo':
    case 'cispo':
    case 'vespo':
      return tokenMean();
    default:
      return lossType satisfies never;
  }
}
