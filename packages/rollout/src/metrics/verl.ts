import type { MetricSource, MetricStyle } from './style.ts';

/**
 * verl's actor metrics: `actor/pg_clipfrac`, `actor/pg_clipfrac_lower`, `actor/ppo_kl`, `actor/kl_loss`,
 * `actor/entropy`. Its masked mean divides by Σm + 1e-8, and some losses report less than others.
 *
 * @param lossMode verl's `policy_loss.loss_mode`.
 */
export function verlMetrics(lossMode = 'vanilla'): MetricStyle {
  return {
    name: 'verl',
    report({ tally, view, hasKl }: MetricSource) {
      const mean = (x: number): number => x / (tally.tokens + 1e-8);
      const metrics: Record<string, number> = {};
      if (lossMode !== 'gpg' && lossMode !== 'reinforce' && lossMode !== 'dro' && lossMode !== 'kl_cov') {
        metrics['actor/pg_clipfrac'] = mean(tally.low + tally.high);
        metrics['actor/pg_clipfrac_lower'] = mean(tally.capped);
      }
      if (lossMode === 'kl_cov') metrics['actor/ppo_kl'] = mean(tally.extra);
      else if (lossMode !== 'gpg') metrics['actor/ppo_kl'] = mean(-tally.logRatio);
      if (hasKl) metrics['actor/kl_loss'] = tally.klAggregated;
      if (view.entropy !== undefined) metrics['actor/entropy'] = mean(tally.entropy);
      return metrics;
    },
  };
}
