import { gdpo } from '../advantages/gdpo.ts';
import { groupPolicyGradient } from '../advantages/gpg.ts';
import { groupNorm } from '../advantages/groupNorm.ts';
import type { RewardWeights } from '../advantages/input.ts';
import { leaveOneOut } from '../advantages/leaveOneOut.ts';
import { optimalLengthBaseline } from '../advantages/optimalLengthBaseline.ts';
import type { AdvantagePart } from '../advantages/part.ts';
import { passAtK } from '../advantages/passAtK.ts';
import { perTokenOnly } from '../advantages/perTokenOnly.ts';
import { reinforcePlusPlusAdvantage } from '../advantages/reinforcePlusPlus.ts';
import { remaxAdvantage } from '../advantages/remax.ts';
import { type Aggregation, constantLength, sequenceMean, tokenMean, tokenSum } from '../aggregation.ts';
import type { TokenView } from '../batch/view.ts';
import { RolloutError } from '../error.ts';
import { offPolicyMetrics } from '../metrics/offPolicy.ts';
import { samplerWeightMetrics } from '../metrics/samplerWeights.ts';
import { verlMetrics } from '../metrics/verl.ts';
import { type Objective, type ObjectiveParts, objective } from '../objective.ts';
import { entropyBonus } from '../regularisers/entropyBonus.ts';
import { type KlOptions, klPenalty } from '../regularisers/kl.ts';
import { rejectionMask } from '../selectors/rejection.ts';
import type { DynamicSampling } from '../sampling.ts';
import { cispoSurrogate } from '../surrogates/cispo.ts';
import { clip } from '../surrogates/clip.ts';
import { dppo } from '../surrogates/dppo.ts';
import { dro } from '../surrogates/dro.ts';
import { gmpo } from '../surrogates/gmpo.ts';
import { klCov } from '../surrogates/klCov.ts';
import { CLAMP_20 } from '../surrogates/logRatio.ts';
import { reinforce } from '../surrogates/reinforce.ts';
import { softGate } from '../surrogates/softGate.ts';
import type { Surrogate } from '../surrogates/surrogate.ts';
import { geometricMeanWeights } from '../weights/geometricMean.ts';
import { importanceWeights } from '../weights/importance.ts';
import { type Modifier, beforeRejection } from '../weights/modifier.ts';
import { ConfigReader } from './reader.ts';
import { VERL_IGNORED, VERL_OPTIONS, VERL_SECTIONS } from './verlNames.ts';
import { type RolloutCorrection, readRolloutCorrection } from './verlRolloutCorrection.ts';

const LOSS_MODES = ['vanilla', 'gspo', 'sapo', 'gpg', 'cispo', 'geo_mean', 'dppo_tv', 'dppo_kl', 'kl_cov', 'dro', 'reinforce', 'bypass_mode'] as const;
type LossMode = (typeof LOSS_MODES)[number];
const ESTIMATORS = [
  'grpo', 'grpo_vectorized', 'grpo_passk', 'gdpo', 'rloo', 'rloo_vectorized', 'opo', 'gpg', 'reinforce_plus_plus', 'reinforce_plus_plus_baseline', 'remax',
  'optimal_token_baseline', 'tir_optimal_token_baseline',
] as const;

/**
 * An objective with verl's numbers, from verl's own option names: those of `actor_rollout_ref.actor` and `algorithm`,
 * nested as in its YAML or flat. Follows verl at commit 1dda039b (August 2026).
 *
 * As there, `clip_ratio` acts only where `clip_ratio_low` or `clip_ratio_high` is null; both default to 0.2.
 * `rollout_correction`: weights and their metrics are of the batch before rejection; under `bypass_mode` so are KL and
 * entropy. `gspo`, `sapo` and `geo_mean` aggregate their own term over sequences, KL and entropy as `loss_agg_mode` says.
 *
 * `adv_estimator` defaults to `grpo`, since GAE, verl's default, needs a critic. `dro_beta` defaults to 0.5.
 *
 * @throws RolloutError `unknown-option` with the nearest right name; `not-supported` for what needs a critic, logits or
 *   random choices (`gae`, `clip_cov`, `use_pf_ppo`), and for `use_kl_in_reward`, which is the caller's (`klInReward`).
 */
export function fromVerl(config: object): Objective {
  const read = new ConfigReader('fromVerl', config, VERL_OPTIONS, VERL_IGNORED, VERL_SECTIONS);
  read.refuse('use_kl_in_reward', 'changes the rewards, which come in ready', 'Leave it out and pass klInReward(…) as the rewards.');
  read.refuse('use_pf_ppo', 'draws the rollouts anew at random', 'Leave it out, or draw them before the loss.');
  read.refuse('loss_remove_token_mean', 'is LUFFY\'s sum over the padded width', 'Leave it out, or build the objective from parts.');
  const correction = readRolloutCorrection(read);
  let lossMode = readLossMode(read);
  if (correction.bypass) lossMode = correction.bypassLoss === 'reinforce' ? 'reinforce' : 'vanilla';
  const aggregation = readAggregation(read, lossMode);
  // Forced only on the policy term: KL and entropy keep the configured one.
  const configured = forced(lossMode) ? readAggregation(read, 'vanilla') : undefined;
  const weighted = correction.weights !== undefined && !(correction.bypass && correction.bypassLoss === 'ppo_clip');
  const { weights } = correction;
  const entropyCoef = read.number('entropy_coeff', 0);
  return objective({
    name: `verl/${lossMode}`,
    advantage: readEstimator(read),
    rewardWeights: readRewardWeights(read),
    surrogate: readSurrogate(read, lossMode),
    denominator: correction.bypass ? (view) => view.behaviorLogps as ArrayLike<number> : undefined,
    denominatorNeeds: correction.bypass ? ['behaviorLogps'] : [],
    reject: readRejection(correction),
    rejectNeeds: correction.rules.length === 0 ? [] : ['behaviorLogps'],
    rejectFrom: correction.bypass ? 'policy' : 'loss',
    modifiers: weighted && weights !== undefined ? [(lossMode === 'geo_mean' ? geometricMeanWeights(weights) : beforeRejection(importanceWeights(weights))) as Modifier] : [],
    diagnostics: weights === undefined ? [] : [(_view, before) => samplerWeightMetrics(before, weights), ...(correction.rules.length === 0 ? [(view: TokenView) => readGap(view, correction)] : [])],
    regularisers: read.boolean('use_kl_loss', false) ? [klPenalty(read.number('kl_loss_coef', 0.001, 0), readKl(read))] : [],
    entropyBonus: entropyCoef === 0 ? undefined : entropyBonus(entropyCoef, { aggregation: configured ?? aggregation }),
    aggregation,
    regulariserAggregation: configured,
    metrics: verlMetrics(lossMode),
    sampling: { numGenerations: read.number('n', 8, 1), ...(read.boolean('enable', false) ? { dynamicSampling: readFilter(read) } : {}) },
  });
}

/** `filter_groups`: a group stays if `metric` varies in it; batches count the first one, 0 is no limit. */
function readFilter(read: ConfigReader): DynamicSampling {
  const batches = read.number('max_num_gen_batches', 0);
  return { maxRetries: batches <= 0 ? Infinity : batches - 1, ...(read.has('metric') ? { key: read.string('metric', '') } : {}) };
}

/** GDPO's weights, by the names in `gdpo_reward_keys` where they are given, else by position. */
function readRewardWeights(read: ConfigReader): RewardWeights | undefined {
  const keys = read.raw('gdpo_reward_keys') ?? undefined;
  const weights = (read.raw('gdpo_reward_weights') ?? undefined) as RewardWeights | undefined;
  if (keys === undefined) return weights;
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string')) {
    throw new RolloutError('invalid-argument', 'fromVerl.gdpo_reward_keys', keys, 'must be a list of names', 'Pass the names of the rewards.');
  }
  if (weights !== undefined && (!Array.isArray(weights) || weights.length !== keys.length)) {
    throw new RolloutError('length-mismatch', 'fromVerl.gdpo_reward_weights', weights, `must have one weight for each of ${keys.length} keys`, 'Pass as many weights as keys.');
  }
  return Object.fromEntries((keys as string[]).map((key, k) => [key, (weights as readonly number[] | undefined)?.[k] ?? 1]));
}

/** Only the rewards that `gdpo_reward_keys` names; without it, all. */
function onlyKeys(part: AdvantagePart, read: ConfigReader): AdvantagePart {
  const keys = (read.raw('gdpo_reward_keys') ?? undefined) as readonly string[] | undefined;
  if (keys === undefined) return part;
  return {
    ...part,
    apply(context, out) {
      const at = context.names.map((_, k) => k).filter((k) => keys.includes(context.names[k] as string));
      part.apply({ ...context, columns: at.map((k) => context.columns[k] as Float64Array), names: at.map((k) => context.names[k] as string), weights: Float64Array.from(at, (k) => context.weights[k] as number) }, out);
    },
  };
}

/** The rejection mask; the off-policy metrics are of the batch before it. */
function readRejection({ rules, bypass }: RolloutCorrection): ObjectiveParts['reject'] {
  if (rules.length === 0) return undefined;
  const reject = rejectionMask(rules, bypass ? 'current' : 'old');
  return (view, metrics) => {
    Object.assign(metrics, readGap(view, { bypass }));
    return reject(view, metrics);
  };
}

/** The gap to the sampler: of the old log-probabilities, or under `bypass_mode` of the current ones. */
function readGap(view: TokenView, { bypass }: Pick<RolloutCorrection, 'bypass'>): Record<string, number> {
  return offPolicyMetrics(bypass ? { ...view, oldLogps: view.logps } : view);
}

function readLossMode(read: ConfigReader): LossMode {
  const mode = read.raw('loss_mode');
  if (mode === 'clip_cov' || mode === 'clip-cov') {
    throw new RolloutError('not-supported', 'fromVerl.loss_mode', mode, 'clips tokens chosen at random', 'Use "kl_cov", which chooses by covariance.');
  }
  return read.choice('loss_mode', 'vanilla', LOSS_MODES);
}

function readSurrogate(read: ConfigReader, mode: LossMode): Surrogate {
  const both = read.number('clip_ratio', 0.2, 0);
  const low = read.raw('clip_ratio_low') === null ? both : read.number('clip_ratio_low', 0.2, 0);
  const high = read.raw('clip_ratio_high') === null ? both : read.number('clip_ratio_high', 0.2, 0);
  const c = read.number('clip_ratio_c', 3, 1);
  switch (mode) {
    case 'vanilla':
    case 'bypass_mode':
      return clip({ epsilon: low, epsilonHigh: high, dualClip: c, logRatioClamp: CLAMP_20 });
    case 'gspo':
      return clip({ epsilon: low, epsilonHigh: high, level: 'sequence-token', logRatioClamp: { max: 10 } });
    case 'sapo':
      return softGate({ tauPositive: read.number('tau_pos', 1, Number.MIN_VALUE), tauNegative: read.number('tau_neg', 1.05, Number.MIN_VALUE), logRatioClamp: CLAMP_20 });
    case 'gpg':
    case 'reinforce':
      return reinforce();
    case 'cispo':
      return cispoSurrogate({ low: 1 - low, high: 1 + high, logRatioClamp: CLAMP_20 });
    case 'geo_mean':
      return gmpo({ epsilon: low, epsilonHigh: high, countEpsilon: 1e-8 });
    case 'dppo_tv':
      return dppo({ divergence: 'tv', low, high, maxRatio: c });
    case 'dppo_kl':
      return dppo({ divergence: 'kl', low, high, maxRatio: c });
    case 'kl_cov':
      return klCov({ ratio: read.number('kl_cov_ratio', 2e-4), coefficient: read.number('ppo_kl_coef', 0.1) }) as Surrogate;
    case 'dro':
      return dro(read.number('dro_beta', 0.5, 0));
    default:
      return mode satisfies never;
  }
}

/** The losses that choose the aggregation of their own term. */
function forced(mode: LossMode): boolean {
  return mode === 'gspo' || mode === 'sapo' || mode === 'geo_mean';
}

function readAggregation(read: ConfigReader, mode: LossMode): Aggregation {
  if (mode === 'geo_mean') return sequenceMean();
  const name = forced(mode) ? 'seq-mean-token-mean' : read.choice('loss_agg_mode', 'token-mean', ['token-mean', 'token-sum', 'seq-mean-token-mean', 'seq-mean-token-sum', 'seq-mean-token-sum-norm'] as const);
  switch (name) {
    case 'token-mean':
      return tokenMean();
    case 'token-sum':
      return tokenSum();
    case 'seq-mean-token-mean':
      return sequenceMean({ over: 'non-empty', epsilon: 1e-8 });
    case 'seq-mean-token-sum':
      return sequenceMean({ tokens: 'sum', over: 'non-empty' });
    case 'seq-mean-token-sum-norm':
      return constantLength({ over: 'non-empty', maxCompletionLength: read.optionalNumber('loss_scale_factor', 1) });
    default:
      return name satisfies never;
  }
}

function readKl(read: ConfigReader): KlOptions {
  const type = read.choice('kl_loss_type', 'low_var_kl', ['kl', 'k1', 'abs', 'mse', 'k2', 'low_var_kl', 'k3', 'kl+', 'k1+', 'abs+', 'mse+', 'k2+', 'low_var_kl+', 'k3+'] as const);
  const base = type.replace('+', '');
  const estimator = base === 'kl' ? 'k1' : base === 'mse' ? 'k2' : base === 'low_var_kl' ? 'k3' : (base as 'k1' | 'abs' | 'k2' | 'k3');
  return { estimator, k2Gradient: type.endsWith('+'), logRatioClamp: 20, valueClamp: 10 };
}

function readEstimator(read: ConfigReader): AdvantagePart {
  if (read.raw('adv_estimator') === 'gae') {
    throw new RolloutError('not-supported', 'fromVerl.adv_estimator', 'gae', 'needs a critic', 'Choose an estimator without one, such as "grpo".');
  }
  const name = read.choice('adv_estimator', 'grpo', ESTIMATORS);
  const normalize = read.boolean('norm_adv_by_std_in_grpo', true);
  const gamma = read.number('gamma', 1, 0, 1);
  switch (name) {
    case 'grpo':
    case 'grpo_vectorized':
      return groupNorm({ epsilon: 1e-6, singleton: 'raw', scale: normalize ? 'group' : 'none' });
    case 'grpo_passk':
      return passAtK({ normalize });
    case 'gdpo':
      return onlyKeys(gdpo({ epsilon: 1e-6, over: 'tokens', singleton: 'raw' }), read);
    case 'rloo':
      return leaveOneOut({ singleton: 'raw' });
    case 'rloo_vectorized':
      return leaveOneOut();
    case 'opo':
      return optimalLengthBaseline();
    case 'gpg':
      return groupPolicyGradient();
    case 'reinforce_plus_plus':
      return gamma === 1 ? reinforcePlusPlusAdvantage({ countEpsilon: 1e-8 }) : perTokenOnly('reinforce_plus_plus with gamma < 1', 'reinforcePlusPlusTokens', `{ gamma: ${gamma}, countEpsilon: 1e-8 }`);
    case 'reinforce_plus_plus_baseline':
      return reinforcePlusPlusAdvantage({ baseline: true, countEpsilon: 1e-8, singleton: 'raw' });
    case 'remax':
      return remaxAdvantage();
    case 'optimal_token_baseline':
      return perTokenOnly(name, 'optimalTokenBaseline');
    case 'tir_optimal_token_baseline':
      return perTokenOnly(name, 'optimalTokenBaseline', "{ align: 'tokens' }");
    default:
      return name satisfies never;
  }
}
