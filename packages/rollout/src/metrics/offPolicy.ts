import type { TokenView } from '../batch/view.ts';
import { toFinite } from '../numeric/saturate.ts';

/**
 * verl's diagnostics of a sampler that differs from the trainer, under `rollout_corr/`: KL and its k3 estimate,
 * perplexities of both, their difference and ratio, and χ² of tokens and sequences. Masked means divide by
 * Σm + 1e-8, means over sequences count empty ones (with a mean of 0), ratios are cut at e^±20.
 */
export function offPolicyMetrics(view: TokenView): Record<string, number> {
  const { oldLogps, mask, offsets, rows } = view;
  const behavior = view.behaviorLogps;
  if (behavior === undefined) return {};
  let kl = 0;
  let k3 = 0;
  let chi2Token = 0;
  let chi2Sequence = 0;
  const rowMean = { trainingPpl: 0, trainingLog: 0, rolloutPpl: 0, rolloutLog: 0, gap: 0, absolute: 0, ratio: 0 };
  let most = -Infinity;
  let least = Infinity;
  for (let i = 0; i < rows; i++) {
    let training = 0;
    let rollout = 0;
    let logRatio = 0;
    for (let k = offsets[i] as number; k < (offsets[i + 1] as number); k++) {
      if (!mask[k]) continue;
      const d = (oldLogps[k] as number) - (behavior[k] as number);
      training += oldLogps[k] as number;
      rollout += behavior[k] as number;
      logRatio += d;
      kl -= d;
      k3 += Math.exp(d) - d - 1;
      chi2Token += Math.exp(2 * Math.min(Math.max(d, -20), 20));
    }
    const count = (view.counts[i] as number) + 1e-8;
    const gap = rollout / count - training / count;
    rowMean.trainingPpl += Math.exp(-training / count) / rows;
    rowMean.trainingLog -= training / count / rows;
    rowMean.rolloutPpl += Math.exp(-rollout / count) / rows;
    rowMean.rolloutLog -= rollout / count / rows;
    rowMean.gap += gap / rows;
    rowMean.absolute += Math.abs(gap) / rows;
    rowMean.ratio += Math.exp(gap) / rows;
    most = Math.max(most, gap);
    least = Math.min(least, gap);
    chi2Sequence += Math.exp(2 * Math.min(Math.max(logRatio, -20), 20)) / rows;
  }
  const tokens = view.activeTokens + 1e-8;
  const metrics: Record<string, number> = {
    kl: kl / tokens,
    k3_kl: k3 / tokens,
    training_ppl: rowMean.trainingPpl,
    training_log_ppl: rowMean.trainingLog,
    rollout_ppl: rowMean.rolloutPpl,
    rollout_log_ppl: rowMean.rolloutLog,
    log_ppl_diff: rowMean.gap,
    log_ppl_abs_diff: rowMean.absolute,
    log_ppl_diff_max: most,
    log_ppl_diff_min: least,
    ppl_ratio: rowMean.ratio,
    chi2_token: chi2Token / tokens - 1,
    chi2_seq: chi2Sequence - 1,
  };
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`rollout_corr/${name}`, toFinite(value)]));
}
