import { clipAdvantages } from '../advantages/clipRange.ts';
import { groupNorm } from '../advantages/groupNorm.ts';
import { leaveOneOut } from '../advantages/leaveOneOut.ts';
import type { AdvantagePart } from '../advantages/part.ts';
import { perTokenOnly } from '../advantages/perTokenOnly.ts';
import { reinforcePlusPlusAdvantage } from '../advantages/reinforcePlusPlus.ts';
import { sequenceMean, tokenMean } from '../aggregation.ts';
import { RolloutError } from '../error.ts';
import { openRlhfMetrics } from '../metrics/openRlhf.ts';
import { type Objective, objective } from '../objective.ts';
import { entropyBonus } from '../regularisers/entropyBonus.ts';
import { klPenalty } from '../regularisers/kl.ts';
import { clip } from '../surrogates/clip.ts';
import { CLAMP_20 } from '../surrogates/logRatio.ts';
import { type ImportanceOptions, importanceWeights } from '../weights/importance.ts';
import type { Modifier } from '../weights/modifier.ts';
import { OPEN_RLHF_IGNORED, OPEN_RLHF_OPTIONS } from './openRlhfNames.ts';
import { ConfigReader } from './reader.ts';

/**
 * An objective with OpenRLHF's numbers, from its command-line names (underscores) or those of its PolicyLoss. Follows
 * OpenRLHF at commit 3c3be623 (August 2026). `advantage_estimator` defaults to `group_norm`, since GAE needs a critic.
 *
 * `reward_clip_range` acts where OpenRLHF has it, between baseline and whitening, and only where it is given: the
 * command's own ±10 is not assumed. KL in the reward (no `use_kl_loss`) is the caller's: `klInReward`.
 *
 * @throws RolloutError `unknown-option` with the nearest right name; `not-supported` for `gae` and for penalties of long
 *   rollouts, which are the caller's (`overlongPenalty`).
 */
export function fromOpenRlhf(config: object): Objective {
  const read = new ConfigReader('fromOpenRlhf', config, OPEN_RLHF_OPTIONS, OPEN_RLHF_IGNORED, []);
  read.refuse('overlong_buffer_len', 'changes the rewards, which come in ready', 'Leave it out and add overlongPenalty(…) to the rewards.');
  read.refuse('stop_properly_penalty_coef', 'changes the rewards of truncated rollouts, which come in ready', 'Leave it out and change them before advantages().');
  const [low, high] = readBounds(read);
  const gspo = read.choice('policy_loss_type', 'ppo', ['ppo', 'gspo'] as const) === 'gspo';
  const corrected = read.boolean('enable_vllm_is_correction', false);
  const dualClip = read.optionalNumber('dual_clip', 1);
  const entropyCoef = read.number('entropy_loss_coef', 0);
  const overTokens = read.boolean('token_level_loss', true) && !gspo;
  return objective({
    name: gspo ? 'openRlhf/gspo' : 'openRlhf/ppo',
    advantage: readEstimator(read),
    surrogate: gspo
      ? clip({ epsilon: low, epsilonHigh: high, dualClip, level: 'sequence', clipCount: 'tokens' })
      : clip({ epsilon: low, epsilonHigh: high, dualClip, logRatioClamp: CLAMP_20 }),
    denominator: gspo && corrected ? (view) => view.behaviorLogps as ArrayLike<number> : undefined,
    denominatorNeeds: gspo && corrected ? ['behaviorLogps'] : [],
    modifiers: corrected && !gspo ? [importanceWeights(readCorrection(read)) as Modifier] : [],
    regularisers: read.boolean('use_kl_loss', false)
      ? [klPenalty(read.number('init_kl_coef', 0.01, 0), { estimator: read.choice('kl_estimator', 'k1', ['k1', 'k2', 'k3'] as const), valueClamp: 10, clampEveryEstimator: true, float32: true, oneFirst: true })]
      : [],
    entropyBonus: entropyCoef === 0 ? undefined : entropyBonus(entropyCoef, { aggregation: tokenMean() }),
    aggregation: overTokens ? tokenMean() : sequenceMean({ over: 'non-empty', epsilon: 1e-8 }),
    // KL and entropy are means over tokens whatever the policy term is.
    regulariserAggregation: overTokens ? undefined : tokenMean(),
    metrics: openRlhfMetrics({ samplerGap: corrected && !gspo }),
    sampling: { numGenerations: read.number('n_samples_per_prompt', 8, 1), ...(read.boolean('dynamic_filtering', false) ? { dynamicSampling: { maxRetries: Infinity, keepMean: readPair(read, 'dynamic_filtering_reward_range', [0, 1], -Infinity) } } : {}) },
  });
}

function readBounds(read: ConfigReader): readonly [number, number] {
  const one = read.number('eps_clip', 0.2, 0);
  return readPair(read, 'eps_clip_low_high', [read.number('clip_eps_low', one, 0), read.number('clip_eps_high', one, 0)]);
}

function readPair(read: ConfigReader, name: string, fallback: readonly [number, number], least = 0): readonly [number, number] {
  const bounds = (read.raw(name) ?? fallback) as unknown;
  if (!Array.isArray(bounds) || bounds.length !== 2 || !bounds.every((x) => typeof x === 'number' && Number.isFinite(x) && x >= least)) {
    throw new RolloutError('invalid-argument', `fromOpenRlhf.${name}`, bounds, 'must be two bounds', 'Pass [low, high].');
  }
  return bounds as unknown as readonly [number, number];
}

function readCorrection(read: ConfigReader): ImportanceOptions {
  const [min, max] = readPair(read, 'vllm_is_truncated_threshold', [0.5, 5]);
  const type = read.choice('vllm_is_correction_type', 'tis', ['tis', 'icepop', 'seq-mask-tis'] as const);
  if (type === 'seq-mask-tis') return { min, max, sequenceFilter: true };
  return { min, max, mode: type === 'icepop' ? 'mask' : 'truncate' };
}

function readEstimator(read: ConfigReader): AdvantagePart {
  if (read.raw('advantage_estimator') === 'gae') {
    throw new RolloutError('not-supported', 'fromOpenRlhf.advantage_estimator', 'gae', 'needs a critic', 'Choose an estimator without one, such as "group_norm".');
  }
  const clipRange = read.optionalRange('reward_clip_range');
  const whitened = { ddof: 0 as const, clipRange, scale: read.boolean('no_advantage_std_norm', false) ? ('none' as const) : ('batch' as const) };
  const gamma = read.number('gamma', 1);
  const name = read.choice('advantage_estimator', 'group_norm', ['group_norm', 'dr_grpo', 'rloo', 'reinforce', 'reinforce_baseline'] as const);
  switch (name) {
    case 'group_norm':
      return clipAdvantages(groupNorm({ epsilon: 1e-9 }), clipRange);
    case 'dr_grpo':
      return clipAdvantages(groupNorm({ scale: 'none' }), clipRange);
    case 'rloo':
      return clipAdvantages(leaveOneOut(), clipRange);
    case 'reinforce':
      return gamma === 1 ? reinforcePlusPlusAdvantage(whitened) : perTokenOnly('reinforce with gamma < 1', 'reinforcePlusPlusTokens', `{ gamma: ${gamma}, ddof: 0 }`);
    case 'reinforce_baseline':
      return reinforcePlusPlusAdvantage({ ...whitened, baseline: true });
    default:
      return name satisfies never;
  }
}
