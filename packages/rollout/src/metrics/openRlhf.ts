import type { MetricSource, MetricStyle } from './style.ts';

/** OpenRLHF's metrics: `clip_ratio`, `ppo_kl`, and `vllm_kl` (behaviour − old) when the sampler is corrected. */
export function openRlhfMetrics({ samplerGap }: { samplerGap: boolean }): MetricStyle {
  return {
    name: 'openRlhf',
    report({ tally, hasKl }: MetricSource) {
      const mean = (x: number): number => x / Math.max(tally.tokens, 1);
      const metrics: Record<string, number> = { clip_ratio: mean(tally.low + tally.high), ppo_kl: mean(-tally.logRatio) };
      if (samplerGap) metrics['vllm_kl'] = mean(tally.samplerGap);
      if (hasKl) metrics['kl'] = mean(tally.kl);
      return metrics;
    },
  };
}
