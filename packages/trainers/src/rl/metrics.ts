import type { Collected } from './collect.ts';

/** What the rollouts of a step say: the driver's metrics, rewards by origin, lengths, entropy, and how far sampler and trainer agree. */
export function rolloutReport({ rollouts, rewards, batch, metrics, groupOf, groups, prompts, sampledRollouts, sampledTokens, reason }: Collected): Record<string, number> {
  const out: Record<string, number> = { reward: 0, ...metrics };
  for (const [name, values] of Object.entries(rewards)) {
    for (const origin of ['free', 'policy'] as const) {
      const own = values.filter((v, i): v is number => v !== null && rollouts[i]!.origin === origin);
      if (own.length > 0) out[`rewards/${name}/${origin}`] = own.reduce((a, b) => a + b, 0) / own.length;
    }
  }
  const alive = new Set(groupOf.filter((_, i) => batch !== undefined && batch.advantages[i] !== 0));
  out['frac_groups_with_advantage'] = prompts === 0 ? 0 : alive.size / prompts;
  out['sampling/complete'] = reason === 'complete' ? 1 : 0;
  out['sampling/groups'] = groups;
  out['sampled_rollouts'] = sampledRollouts;
  out['sampled_tokens'] = sampledTokens;
  const entropies = rollouts.flatMap((r) => Array.from(r.completion.entropies));
  out['entropy'] = entropies.reduce((a, b) => a + b, 0) / Math.max(1, entropies.length);
  return out;
}
