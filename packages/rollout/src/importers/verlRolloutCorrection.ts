import { RolloutError, checkChoice } from '../error.ts';
import { REJECTION_OPTIONS, type RejectionRule } from '../selectors/rejection.ts';
import type { ImportanceOptions } from '../weights/importance.ts';
import type { ConfigReader } from './reader.ts';

/** verl's `rollout_correction` section, read into parts. */
export interface RolloutCorrection {
  readonly weights: ImportanceOptions | undefined;
  readonly rules: readonly RejectionRule[];
  readonly bypass: boolean;
  readonly bypassLoss: 'ppo_clip' | 'reinforce';
}

/** Reads rollout_is, rollout_is_threshold ("2.0" truncates, "0.5_5.0" drops), rollout_rs and its thresholds. */
export function readRolloutCorrection(read: ConfigReader): RolloutCorrection {
  const bypass = read.boolean('bypass_mode', false);
  const bypassLoss = bypass ? read.choice('loss_type', 'ppo_clip', ['ppo_clip', 'reinforce'] as const) : 'ppo_clip';
  const level = read.has('rollout_is') ? read.choice('rollout_is', 'token', ['token', 'sequence'] as const) : undefined;
  const numerator = bypass ? 'current' : 'old';
  let weights: ImportanceOptions | undefined;
  if (level !== undefined) {
    const { lower, upper } = parseThreshold('rollout_is_threshold', read.raw('rollout_is_threshold') ?? 2);
    weights = {
      level,
      numerator,
      logClamp: 20,
      max: upper,
      batchNormalize: read.boolean('rollout_is_batch_normalize', false),
      countEpsilon: 1e-8,
      ...(lower === undefined ? { mode: 'truncate' } : { mode: 'mask', min: lower }),
    };
  }
  return { weights, rules: readRules(read), bypass, bypassLoss };
}

function readRules(read: ConfigReader): RejectionRule[] {
  if (!read.has('rollout_rs')) return [];
  const names = [...new Set(split(read.raw('rollout_rs')))];
  if (!read.has('rollout_rs_threshold')) {
    throw new RolloutError('missing-need', 'fromVerl.rollout_rs_threshold', undefined, 'rollout_rs needs thresholds', 'Give one threshold, or one for each option, separated by commas.');
  }
  const thresholds = split(read.raw('rollout_rs_threshold'));
  if (thresholds.length !== 1 && thresholds.length !== names.length) {
    throw new RolloutError('length-mismatch', 'fromVerl.rollout_rs_threshold', thresholds.length, `must give 1 or ${names.length} thresholds`, 'Give one threshold, or one for each option.');
  }
  return names.map((name, n) => {
    const option = checkChoice('fromVerl.rollout_rs', name, REJECTION_OPTIONS);
    const { lower, upper } = parseThreshold('rollout_rs_threshold', thresholds[thresholds.length === 1 ? 0 : n]);
    if (lower !== undefined && !option.endsWith('k1')) {
      throw new RolloutError('invalid-argument', 'fromVerl.rollout_rs_threshold', thresholds, `${option} takes one upper bound`, 'Leave out the lower bound.');
    }
    return { option, upper, lower: option.endsWith('k1') ? (lower ?? 1 / upper) : undefined };
  });
}

function split(value: unknown): string[] {
  return String(value).split(',').map((part) => part.trim()).filter((part) => part !== '');
}

function parseThreshold(name: string, value: unknown): { lower: number | undefined; upper: number } {
  const parts = typeof value === 'number' ? [value] : String(value).split('_').map(Number);
  const [first, second] = parts;
  const ok = parts.length <= 2 && parts.every((x) => Number.isFinite(x) && x > 0) && (second === undefined || (first as number) <= second) && typeof value !== 'boolean';
  if (!ok) {
    throw new RolloutError('invalid-argument', `fromVerl.${name}`, value, 'is not a threshold', 'Pass a positive number, or "lower_upper" with lower ≤ upper.');
  }
  return second === undefined ? { lower: undefined, upper: first as number } : { lower: first as number, upper: second };
}
