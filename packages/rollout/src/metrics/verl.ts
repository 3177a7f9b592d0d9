import type { MetricSource, MetricStyle } from './style.ts';

/**
 * verl's actor metrics: `actor/pg_clipfrac`, `actor/pg_clipfrac_lower`, `actor/ppo_kl`, `actor/kl_loss`,
 * `actor/entropy`. Its masked mean divides by Σm + 1e-8.
 */
export function verlMetrics(): MetricStyle {
  return {
    name: 'verl',
    report({ tally, view, surrogate, hasKl }: MetricSource) {
      const mean = (x: number): number => x / (tally.tokens + 1e-8);
      const metrics: Record<string, number> = {};
      if (surrogate !== 'reinforce' && surrogate !== 'dro' && surrogate !== 'klCov') {
        metrics['actor/pg_clipfrac'] = mean(tally.low + tally.high);
        metrics['actor/pg_clipfrac_lower'] = mean(tally.capped);
      }
      if (surrogate === 'klCov') metrics['actor/ppo_kl'] = mean(tally.extra);
      else if (surrogate !== 'reinforce') metrics['actor/ppo_kl'] = mean(-tally.logRatio);
      if (hasKl) metrics['actor/kl_loss'] = mean(tally.kl);
      if (view.entropy !== undefined) metrics['actor/entropy'] = mean(tally.entropy);
      return metrics;
    },
  };
}
