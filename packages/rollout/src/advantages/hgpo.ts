import { RolloutError, checkNumber } from '../error.ts';
import { moments } from '../numeric/moments.ts';

/** One step of one rollout: the state it acted in (a hashable key) and the reward it got. */
export interface HgpoStep {
  readonly state: string;
  readonly reward: number;
}

export interface HgpoOptions {
  /** Discount of the step return. Default 0.95. */
  readonly gamma?: number | undefined;
  /** Longest history compared, in observations beyond the current one. Default 2. */
  readonly history?: number | undefined;
  /** Weight (k + 1)^alpha of the group with k observations in common. Default 1. */
  readonly alpha?: number | undefined;
  /** Divide by the group's deviation (ddof 0) + 1e-6. Default true. */
  readonly normalize?: boolean | undefined;
}

/**
 * HGPO's step advantages (Hierarchy-of-Groups Policy Optimization, February 2026): the return of a step is compared within nested groups, those of steps (of
 * any rollout of the prompt) that share the last 1, 2, … K + 1 observations; the weighted mean over groups that say
 * something (more than one member, advantage other than 0) is the step's advantage.
 *
 * @param rollouts the steps of each rollout of one prompt.
 * @returns one array a rollout, one advantage a step.
 */
export function hgpoAdvantages(rollouts: readonly (readonly HgpoStep[])[], options: HgpoOptions = {}): Float64Array[] {
  const { gamma = 0.95, history = 2, alpha = 1, normalize = true } = options;
  checkNumber('gamma', gamma, 0, 1);
  checkNumber('history', history, 0);
  checkNumber('alpha', alpha);
  if (rollouts.length === 0) throw new RolloutError('empty-batch', 'rollouts', rollouts, 'holds no rollout', 'Pass the rollouts of one prompt.');
  const steps: { rollout: number; index: number; value: number }[] = [];
  rollouts.forEach((rollout, r) => {
    let value = 0;
    for (let t = rollout.length - 1; t >= 0; t--) {
      value = checkNumber(`rollouts[${r}][${t}].reward`, rollout[t]?.reward) + gamma * value;
      steps.push({ rollout: r, index: t, value });
    }
  });
  const values = Float64Array.from(steps, (step) => step.value);
  const sums = new Float64Array(steps.length);
  const weights = new Float64Array(steps.length);
  for (let k = 1; k <= history + 1; k++) {
    const groups = new Map<string, number[]>();
    steps.forEach(({ rollout, index }, n) => {
      if (index + 1 < k) return;
      const key = JSON.stringify((rollouts[rollout] as readonly HgpoStep[]).slice(index + 1 - k, index + 1).map((step) => step.state));
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [n]);
      else group.push(n);
    });
    for (const group of groups.values()) {
      const m = moments(values, group, 0);
      for (const n of group) {
        const centred = (values[n] as number) * m.scale - m.mean;
        const a = normalize ? centred / (m.sd + 1e-6 * m.scale) : centred / m.scale;
        if (a === 0) continue;
        const w = (k + 1) ** alpha;
        sums[n] = (sums[n] as number) + w * a;
        weights[n] = (weights[n] as number) + w;
      }
    }
  }
  const result = rollouts.map((rollout) => new Float64Array(rollout.length));
  steps.forEach(({ rollout, index }, n) => {
    const w = weights[n] as number;
    if (w > 0) (result[rollout] as Float64Array)[index] = (sums[n] as number) / w;
  });
  return result;
}
