import type { TokenView } from '../batch/view.ts';
import { type ImportanceOptions, rawWeight, rowWeight, tokenWeight } from '../weights/importance.ts';

/**
 * verl's diagnostics of importance weights, under `rollout_corr/`: mean, deviation and effective sample size of the
 * applied weights, and the share of raw weights outside the bounds. Masked means divide by Σm + 1e-8.
 */
export function samplerWeightMetrics(view: TokenView, options: ImportanceOptions): Record<string, number> {
  const upper = options.max ?? Infinity;
  const lower = options.min ?? 1 / upper;
  const sequence = options.level === 'sequence';
  let count = 0;
  let sum = 0;
  let clampedSum = 0;
  let clampedSquares = 0;
  let high = 0;
  let low = 0;
  let max = -Infinity;
  let min = Infinity;
  for (let i = 0; i < view.rows; i++) {
    const row = rowWeight(view, i, options);
    const rawRow = sequence ? rowWeight(view, i, { ...options, min: undefined, max: undefined }) : 1;
    if (sequence) {
      if (rawRow > upper) high++;
      if (rawRow < lower) low++;
      max = Math.max(max, rawRow);
      min = Math.min(min, rawRow);
    }
    for (let k = view.offsets[i] as number; k < (view.offsets[i + 1] as number); k++) {
      if (!view.mask[k]) continue;
      const w = tokenWeight(view, k, row, options);
      const cut = Math.min(w, upper);
      count++;
      sum += w;
      clampedSum += cut;
      clampedSquares += cut * cut;
      if (sequence) continue;
      const raw = rawWeight(view, k, options);
      if (raw > upper) high++;
      if (raw < lower) low++;
      max = Math.max(max, w);
      min = Math.min(min, w);
    }
  }
  if (count === 0) return {};
  const mean = (x: number): number => x / (count + 1e-8);
  const units = sequence ? view.rows : count + 1e-8;
  const meanCut = mean(clampedSum);
  return {
    'rollout_corr/rollout_is_mean': mean(sum),
    'rollout_corr/rollout_is_max': max,
    'rollout_corr/rollout_is_min': min,
    'rollout_corr/rollout_is_std': Math.sqrt(Math.max(mean(clampedSquares) - meanCut * meanCut, 0)),
    // Where every weight is 0 nothing counts.
    'rollout_corr/rollout_is_eff_sample_size': clampedSquares === 0 ? 0 : 1 / mean(clampedSquares / (meanCut + 1e-8) ** 2),
    'rollout_corr/rollout_is_ratio_fraction_high': high / units,
    'rollout_corr/rollout_is_ratio_fraction_low': low / units,
  };
}
