import type { TokenView } from '../batch/view.ts';
import { klEstimate } from '../regularisers/kl.ts';
import { saturate } from '../numeric/saturate.ts';

/**
 * How far the policy-aware sampler is from the policy-free model, over policy-aware rows with behaviour
 * log-probabilities (verl's off-policy metrics):
 *
 *   policy_gap/kl = mean_t(behaviour − old)      policy_gap/k3_kl = mean_t(e^d − d − 1), d = old − behaviour
 *   policy_gap/log_ppl_diff = mean over rows of mean_t(behaviour − old)
 *   policy_gap/chi2 = mean_t(e^{2d}) − 1         policy_gap/ess = (Σ_i w_i)² / (n Σ_i w_i²), w_i = exp(Σ_t d)
 *
 * Empty without behaviour log-probabilities, origins or policy-aware tokens.
 */
export function policyGap(view: TokenView): Record<string, number> {
  const { origin, behaviorLogps, oldLogps, mask, offsets } = view;
  if (origin === undefined || behaviorLogps === undefined) return {};
  const pair = new Float64Array(2);
  const logWeights: number[] = [];
  let tokens = 0;
  let kl = 0;
  let k3 = 0;
  let chi2 = 0;
  let rowMeans = 0;
  for (let i = 0; i < view.rows; i++) {
    const count = view.counts[i] as number;
    if (origin[i] !== 1 || count === 0) continue;
    let rowSum = 0;
    for (let k = offsets[i] as number; k < (offsets[i + 1] as number); k++) {
      if (!mask[k]) continue;
      const behaviour = behaviorLogps[k] as number;
      const old = oldLogps[k] as number;
      const gap = saturate(behaviour - old);
      klEstimate(behaviour, old, {}, pair);
      rowSum += gap;
      k3 += pair[0] as number;
      chi2 += Math.exp(Math.min(-2 * gap, 660));
    }
    tokens += count;
    kl += rowSum;
    rowMeans += rowSum / count;
    logWeights.push(-rowSum);
  }
  if (tokens === 0) return {};
  return {
    'policy_gap/kl': kl / tokens,
    'policy_gap/k3_kl': k3 / tokens,
    'policy_gap/log_ppl_diff': rowMeans / logWeights.length,
    'policy_gap/chi2': chi2 / tokens - 1,
    'policy_gap/ess': effectiveSampleSize(logWeights),
  };
}

/** (Σw)² / (n Σw²) from log-weights, in (0, 1]; the largest weight is taken out first, so nothing overflows. */
export function effectiveSampleSize(logWeights: ArrayLike<number>): number {
  let largest = -Infinity;
  for (let i = 0; i < logWeights.length; i++) largest = Math.max(largest, logWeights[i] as number);
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < logWeights.length; i++) {
    const w = Math.exp((logWeights[i] as number) - largest);
    sum += w;
    squares += w * w;
  }
  return (sum * sum) / (logWeights.length * squares);
}
