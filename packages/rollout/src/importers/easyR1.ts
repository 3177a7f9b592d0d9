import { groupNorm } from '../advantages/groupNorm.ts';
import { leaveOneOut } from '../advantages/leaveOneOut.ts';
import type { AdvantagePart } from '../advantages/part.ts';
import { passAtK } from '../advantages/passAtK.ts';
import { perTokenOnly } from '../advantages/perTokenOnly.ts';
import { reinforcePlusPlusAdvantage } from '../advantages/reinforcePlusPlus.ts';
import { remaxAdvantage } from '../advantages/remax.ts';
import { sequenceMean, tokenMean } from '../aggregation.ts';
import { RolloutError } from '../error.ts';
import { easyR1Metrics } from '../metrics/easyR1.ts';
import { type Objective, objective } from '../objective.ts';
import { type KlOptions, klPenalty } from '../regularisers/kl.ts';
import type { DynamicSampling } from '../sampling.ts';
import { cispoSurrogate } from '../surrogates/cispo.ts';
import { clip } from '../surrogates/clip.ts';
import { CLAMP_20 } from '../surrogates/logRatio.ts';
import { softGate } from '../surrogates/softGate.ts';
import type { Surrogate } from '../surrogates/surrogate.ts';
import { EASY_R1_IGNORED, EASY_R1_OPTIONS, EASY_R1_SECTIONS } from './easyR1Names.ts';
import { ConfigReader } from './reader.ts';

/**
 * An objective with EasyR1's numbers, from its own option names (`worker.actor` and `algorithm`, nested or flat):
 * clip 0.2 / 0.3, dual clip 3, means over Σm + 1e-8, KL in float32. Follows EasyR1 at commit b44b311b (July 2026). KL in
 * the reward (no `use_kl_loss`) is the caller's: `klInReward`.
 *
 * @throws RolloutError `unknown-option` with the nearest right name; `not-supported` for `gae`, which needs a critic.
 */
export function fromEasyR1(config: object): Objective {
  const read = new ConfigReader('fromEasyR1', config, EASY_R1_OPTIONS, EASY_R1_IGNORED, EASY_R1_SECTIONS);
  const average = read.choice('loss_avg_mode', 'token', ['token', 'seq'] as const);
  const lossType = read.choice('loss_type', 'default', ['default', 'gspo', 'gspo_token', 'cispo', 'sapo'] as const);
  const withKl = read.boolean('use_kl_loss', false) && !read.boolean('disable_kl', false);
  return objective({
    name: `easyR1/${lossType}`,
    advantage: readEstimator(read),
    surrogate: readSurrogate(read, lossType),
    regularisers: withKl ? [klPenalty(read.number('kl_coef', 1e-3, 0), readKl(read))] : [],
    aggregation: average === 'token' ? tokenMean({ epsilon: 1e-8 }) : sequenceMean({ epsilon: 1e-8 }),
    metrics: easyR1Metrics(average),
    sampling: { numGenerations: read.number('n', 8, 1), ...(read.boolean('online_filtering', false) ? { dynamicSampling: readFilter(read) } : {}) },
  });
}

/** `online_filtering`: a group stays if the mean of `filter_key` lies between the bounds; tries count the first one. */
function readFilter(read: ConfigReader): DynamicSampling {
  const tries = read.number('max_try_make_batch', 20);
  const key = read.string('filter_key', 'overall');
  return { maxRetries: tries <= 0 ? Infinity : tries - 1, keepMean: [read.number('filter_low', 0.01), read.number('filter_high', 0.99)], key };
}

function readSurrogate(read: ConfigReader, lossType: 'default' | 'gspo' | 'gspo_token' | 'cispo' | 'sapo'): Surrogate {
  const epsilon = read.number('clip_ratio_low', 0.2, 0);
  const epsilonHigh = read.number('clip_ratio_high', 0.3, 0);
  const dualClip = read.number('clip_ratio_dual', 3, 1);
  switch (lossType) {
    case 'default':
      return clip({ epsilon, epsilonHigh, dualClip, logRatioClamp: CLAMP_20 });
    case 'gspo':
      return clip({ epsilon, epsilonHigh, dualClip, logRatioClamp: CLAMP_20, level: 'sequence', countEpsilon: 1e-8, clipCount: 'tokens' });
    case 'gspo_token':
      return clip({ epsilon, epsilonHigh, dualClip, logRatioClamp: CLAMP_20, level: 'sequence-token', countEpsilon: 1e-8 });
    case 'cispo':
      return cispoSurrogate({ low: 1 - epsilon, high: 1 + epsilonHigh, logRatioClamp: CLAMP_20 });
    case 'sapo':
      return softGate({ tauPositive: read.number('tau_positive', 1, Number.MIN_VALUE), tauNegative: read.number('tau_negative', 1.05, Number.MIN_VALUE), logRatioClamp: CLAMP_20 });
    default:
      return lossType satisfies never;
  }
}

function readKl(read: ConfigReader): KlOptions {
  const penalty = read.choice('kl_penalty', 'kl', ['kl', 'abs', 'mse', 'low_var_kl'] as const);
  return { estimator: penalty === 'kl' ? 'k1' : penalty === 'mse' ? 'k2' : penalty === 'abs' ? 'abs' : 'k3', logRatioClamp: 20, valueClamp: 10, float32: true };
}

function readEstimator(read: ConfigReader): AdvantagePart {
  if (read.raw('adv_estimator') === 'gae') {
    throw new RolloutError('not-supported', 'fromEasyR1.adv_estimator', 'gae', 'needs a critic', 'Choose an estimator without one, such as "grpo".');
  }
  const gamma = read.number('gamma', 1);
  const name = read.choice('adv_estimator', 'grpo', ['grpo', 'grpo_passk', 'reinforce_plus_plus', 'remax', 'rloo', 'sapo'] as const);
  switch (name) {
    case 'grpo':
    case 'sapo':
      return groupNorm({ epsilon: 1e-6 });
    case 'grpo_passk':
      return passAtK();
    case 'reinforce_plus_plus':
      return gamma === 1 ? reinforcePlusPlusAdvantage({ countEpsilon: 1e-8 }) : perTokenOnly('reinforce_plus_plus with gamma < 1', 'reinforcePlusPlusTokens', `{ gamma: ${gamma}, countEpsilon: 1e-8 }`);
    case 'remax':
      return remaxAdvantage();
    case 'rloo':
      return leaveOneOut();
    default:
      return name satisfies never;
  }
}
