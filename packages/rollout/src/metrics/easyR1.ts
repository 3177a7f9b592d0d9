import type { MetricSource, MetricStyle } from './style.ts';

/** EasyR1's metrics: `ppo_kl`, `entropy_loss` (the mean of −logp), `pg_clipfrac_higher`, `pg_clipfrac_lower`. */
export function easyR1Metrics(average: 'token' | 'seq'): MetricStyle {
  return {
    name: 'easyR1',
    wantsLogp: true,
    report({ tally, surrogate, hasKl }: MetricSource) {
      const mean = (x: number): number => x / (tally.tokens + 1e-8);
      const logp = average === 'token' ? mean(tally.logp) : tally.logpRowMeans / Math.max(tally.rows, 1);
      const metrics: Record<string, number> = { ppo_kl: mean(-tally.logRatio), entropy_loss: mean(-logp * tally.tokens) };
      if (surrogate.startsWith('clip')) {
        metrics['pg_clipfrac_higher'] = mean(tally.low + tally.high);
        metrics['pg_clipfrac_lower'] = mean(tally.capped);
      }
      if (hasKl) metrics['kl_loss'] = tally.klAggregated;
      return metrics;
    },
  };
}
