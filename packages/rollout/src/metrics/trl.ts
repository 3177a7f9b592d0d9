import type { MetricSource, MetricStyle } from './style.ts';

/**
 * TRL's metrics: `kl`, `entropy`, `clip_ratio/{low_mean,low_min,high_mean,high_max,region_mean}`, `cispo_clip_ratio`,
 * `vespo/phi_seq_mean`, `policy_loss` and `entropy_coef` with an entropy bonus.
 *
 * Clipped below: r < 1 − ε_l and A < 0; above: r > 1 + ε_h and A > 0; means over active tokens, or over rows where the
 * ratio is one a sequence.
 *
 * @param float32 TRL counts in float32; its importer rounds the same way, so that the numbers are the same.
 */
export function trlMetrics({ float32 = false }: { float32?: boolean } = {}): MetricStyle {
  const divide = float32 ? (a: number, b: number): number => Math.fround(Math.fround(a) / Math.fround(Math.max(b, 1))) : (a: number, b: number): number => a / Math.max(b, 1);
  return {
    name: 'trl',
    report({ tally, view, perSequence, surrogate, hasKl, policyLoss, entropyCoef }: MetricSource) {
      const metrics: Record<string, number> = {};
      const units = perSequence ? tally.rows : tally.tokens;
      if (entropyCoef !== undefined) {
        metrics['policy_loss'] = policyLoss;
        metrics['entropy_coef'] = entropyCoef;
      }
      if (hasKl) metrics['kl'] = tally.kl / Math.max(tally.tokens, 1);
      if (view.entropy !== undefined) metrics['entropy'] = tally.entropy / Math.max(tally.tokens, 1);
      if (surrogate.startsWith('clip')) {
        metrics['clip_ratio/low_mean'] = divide(tally.low, units);
        metrics['clip_ratio/high_mean'] = divide(tally.high, units);
        metrics['clip_ratio/region_mean'] = divide(tally.low + tally.high, units);
        metrics['clip_ratio/low_min'] = float32 ? Math.fround(orZero(tally.lowMin)) : orZero(tally.lowMin);
        metrics['clip_ratio/high_max'] = float32 ? Math.fround(orZero(tally.highMax)) : orZero(tally.highMax);
      } else if (surrogate === 'cispo') metrics['cispo_clip_ratio'] = divide(tally.high, units);
      else if (surrogate === 'vespo') metrics['vespo/phi_seq_mean'] = tally.extra / Math.max(tally.rows, 1);
      return metrics;
    },
  };
}

function orZero(x: number): number {
  return x === x ? x : 0;
}
