import type { RewardWeights } from '@trimpi/rollout';
import type { Collected } from './collect.ts';

/** What the rollouts of a step say: the driver's metrics, rewards by origin, lengths and entropy. Of a step that kept none there is no reward and no entropy. */
export function rolloutReport({ rollouts, rewards, batch, metrics, groupOf, groups, prompts, sampledRollouts, sampledTokens, sampledRewards, sampledTotals, reason }: Collected, rewardWeights: RewardWeights | undefined): Record<string, number> {
  const out: Record<string, number> = { ...metrics, ...sampledRewards };
  for (const [name, values] of Object.entries(rewards)) {
    for (const origin of ['free', 'policy'] as const) {
      const own = values.filter((v, i): v is number => v !== null && rollouts[i]!.origin === origin);
      if (own.length > 0) out[`rewards/${name}/${origin}`] = own.reduce((a, b) => a + b, 0) / own.length;
    }
  }
  if (sampledRollouts > 0) out['sampled_reward'] = Object.entries(sampledTotals).reduce((sum, [name, total], k) => sum + weightOf(rewardWeights, name, k) * total, 0) / sampledRollouts;
  const alive = new Set(groupOf.filter((_, i) => batch !== undefined && batch.advantages[i] !== 0));
  out['frac_groups_with_advantage'] = prompts === 0 ? 0 : alive.size / prompts;
  out['sampling/complete'] = reason === 'complete' ? 1 : 0;
  out['sampling/groups'] = groups;
  out['sampled_rollouts'] = sampledRollouts;
  out['sampled_tokens'] = sampledTokens;
  const terminated = rollouts.filter((r) => r.completion.finish === 'stop').map((r) => r.completion.tokens.length);
  if (terminated.length > 0) {
    out['completions/mean_terminated_length'] = terminated.reduce((a, b) => a + b, 0) / terminated.length;
    out['completions/min_terminated_length'] = Math.min(...terminated);
    out['completions/max_terminated_length'] = Math.max(...terminated);
  }
  const entropies = rollouts.flatMap((r) => Array.from(r.completion.entropies));
  if (entropies.length > 0) out['entropy'] = entropies.reduce((a, b) => a + b, 0) / entropies.length;
  return out;
}

function weightOf(weights: RewardWeights | undefined, name: string, index: number): number {
  if (weights === undefined) return 1;
  if (Array.isArray(weights)) return (weights as readonly number[])[index] ?? 1;
  return (weights as Readonly<Record<string, number>>)[name] ?? 1;
}

/**
 * Metrics of a step from those of its updates: the mean (as TRL logs them) over the updates that have a finite one; of names that end in
 * `_min` or `_max`, by origin too, the least or the greatest.
 */
export function overUpdates(updates: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const names = new Set(updates.flatMap((metrics) => Object.keys(metrics)));
  return Object.fromEntries([...names].map((name) => {
    const all = updates.flatMap((metrics) => metrics[name] ?? []);
    const finite = all.filter(Number.isFinite);
    const values = finite.length > 0 ? finite : all;
    const end = /_(min|max)(?:\/(?:free|policy))?$/.exec(name)?.[1];
    if (end !== undefined) return [name, end === 'min' ? Math.min(...values) : Math.max(...values)];
    return [name, values.reduce((a, b) => a + b, 0) / values.length];
  }));
}

/**
 * How far the sampler and the trainer are apart on policy-free tokens (TRL's names): |behaviour - old| of log-probabilities.
 * More than rounding means that the sampler computes in another precision, or something else.
 */
export function samplerDifference(behaviour: Float64Array, old: Float64Array, counts: Uint8Array): Record<string, number> {
  let [sum, max, n] = [0, 0, 0];
  counts.forEach((c, i) => {
    if (c === 0) return;
    const difference = Math.abs(behaviour[i]! - old[i]!);
    sum += difference;
    max = Math.max(max, difference);
    n++;
  });
  return n === 0 ? {} : { 'sampling/sampling_logp_difference/mean': sum / n, 'sampling/sampling_logp_difference/max': max };
}
