import { expect, it } from 'vitest';
import { curvesOf, rlReport } from '../src/train/reinforce.ts';

const step = (n: number, rollouts: number, groups: number, free: number) => ({ step: n, reward: free, sampled_rollouts: rollouts, frac_groups_with_advantage: groups, 'sampled_rewards/accuracy/free': free, 'time/step': 2 * n, 'time/generation': n, 'time/outside_gpu': 0.1 });

it('counts by rollout, takes accuracies from the last quarter, and times from all steps', () => {
  const report = rlReport([step(1, 8, 1, 0), step(2, 8, 1, 0), step(3, 8, 0.5, 0), step(4, 24, 0.25, 0.75)])!;
  expect(report).toMatchObject({ rollouts: 48, groupsWithAdvantage: (8 + 8 + 4 + 6) / 48, accuracyFree: 0.75 });
  expect(report).not.toHaveProperty('accuracyPolicy');
  expect(report.time['generation']).toBe(0.5);
  expect(report.time['outside_gpu']).toBeCloseTo(0.4 / 20, 12);
  expect(rlReport([])).toBeUndefined();
});

it('curves of RL and of supervised stages', () => {
  expect(curvesOf('x', [step(1, 8, 1, 0.5)]).map((c) => c.name)).toEqual(['reward', 'accuracy, policy-free', 'groups with an advantage']);
  // Dynamic sampling may keep nothing in a step, or in all of them.
  const { reward: _, ...nothingKept } = step(2, 8, 0, 1);
  expect(curvesOf('x', [step(1, 8, 1, 0.5), nothingKept])[0]).toEqual({ stage: 'x', name: 'reward', points: [[1, 0.5]] });
  expect(curvesOf('x', [nothingKept]).map((c) => c.name)).toEqual(['accuracy, policy-free', 'groups with an advantage']);
  expect(curvesOf('y', [{ step: 1, loss: 2 }])).toEqual([{ stage: 'y', name: 'loss', points: [[1, 2]] }]);
});
