import { RolloutError } from '../error.ts';
import type { TokenView } from '../batch/view.ts';

/** Divergences between trainer and sampler by which tokens or sequences are rejected (verl `rollout_rs`). */
export type RejectionOption =
  | 'token_k1'
  | 'token_k2'
  | 'token_k3'
  | 'seq_sum_k1'
  | 'seq_sum_k2'
  | 'seq_sum_k3'
  | 'seq_mean_k1'
  | 'seq_mean_k2'
  | 'seq_mean_k3'
  | 'seq_max_k2'
  | 'seq_max_k3';

export const REJECTION_OPTIONS: readonly RejectionOption[] = [
  'token_k1', 'token_k2', 'token_k3', 'seq_sum_k1', 'seq_sum_k2', 'seq_sum_k3', 'seq_mean_k1', 'seq_mean_k2', 'seq_mean_k3', 'seq_max_k2', 'seq_max_k3',
];

export interface RejectionRule {
  readonly option: RejectionOption;
  /** k1: bounds of the ratio, compared as log lower ≤ −log r ≤ log upper. Others: the largest divergence kept. */
  readonly upper: number;
  readonly lower?: number | undefined;
}

/**
 * verl's rejection mask: a token stays in the loss only if every rule keeps it. With d = clamp(old − behaviour, ±20),
 *
 *   k1 = −d      k2 = ½ d²      k3 = e^d − 1 − d
 *
 * of each token, or their sum, mean or largest over a sequence. The mask changes what the loss is divided by.
 *
 * @param numerator `current` in verl's bypass mode, where old is the sampler's.
 */
export function rejectionMask(rules: readonly RejectionRule[], numerator: 'old' | 'current' = 'old'): (view: TokenView, metrics: Record<string, number>) => Uint8Array {
  for (const rule of rules) {
    if (!(rule.upper > 0) || (rule.lower !== undefined && !(rule.lower > 0))) {
      throw new RolloutError('invalid-argument', `threshold of ${rule.option}`, rule.upper, 'must be positive', 'Pass a positive bound (for k1 a lower and an upper ratio).');
    }
  }
  return (view, metrics) => {
    const { mask, offsets, behaviorLogps } = view;
    const top = numerator === 'old' ? view.oldLogps : view.logps;
    const keep = new Uint8Array(view.tokens);
    let rejected = 0;
    for (let i = 0; i < view.rows; i++) {
      const start = offsets[i] as number;
      const end = offsets[i + 1] as number;
      for (let k = start; k < end; k++) keep[k] = mask[k] ? 1 : 0;
      for (const rule of rules) {
        const [level, reduce] = rule.option.startsWith('token') ? ['token', ''] : ['sequence', rule.option.split('_')[1] as string];
        const kind = rule.option.slice(-2);
        let sum = 0;
        let largest = 0;
        for (let k = start; k < end; k++) {
          if (!mask[k]) continue;
          const value = divergence((top[k] as number) - (behaviorLogps?.[k] as number), kind);
          if (level === 'token' && !within(value, kind, rule)) keep[k] = 0;
          sum += value;
          if (value > largest) largest = value;
        }
        if (level === 'token') continue;
        const statistic = reduce === 'sum' ? sum : reduce === 'mean' ? sum / ((view.counts[i] as number) + 1e-8) : largest;
        if (!within(statistic, kind, rule)) keep.fill(0, start, end);
      }
      for (let k = start; k < end; k++) if (mask[k] && keep[k] === 0) rejected++;
    }
    metrics['rollout_corr/rollout_rs_masked_fraction'] = rejected / (view.activeTokens + 1e-8);
    return keep;
  };
}

function divergence(logRatio: number, kind: string): number {
  const d = Math.min(Math.max(logRatio, -20), 20);
  return kind === 'k1' ? -d : kind === 'k2' ? 0.5 * d * d : Math.exp(d) - 1 - d;
}

function within(value: number, kind: string, { upper, lower }: RejectionRule): boolean {
  return kind === 'k1' ? value >= Math.log(lower ?? 1 / upper) && value <= Math.log(upper) : value <= upper;
}
