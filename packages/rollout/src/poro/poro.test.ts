/** @file PolicyRollout's baselines, ratios and diagnostics, from numbers worked out by hand. */
import { describe, expect, it } from 'vitest';
import { clip, effectiveSampleSize, fromVerl, groupNorm, grpo, importanceWeights, objective, poro, reinforce, rloo, rolloutMetrics, tokenSum } from '../index.ts';
import { readBatch } from '../batch/view.ts';
import { policyGap } from './gap.ts';

const plain = objective({ name: 'plain', advantage: groupNorm(), surrogate: clip({ epsilon: 0.2 }), aggregation: tokenSum() });
/** A free and a policy-aware row with the same numbers. */
const pair = { logps: [-1, -1], oldLogps: [-1.1, -1.1], behaviorLogps: [-0.9, -0.9], advantages: [1, 1], mask: [1, 1], shape: [2, 1] as [number, number], origin: ['free', 'policy'] as const };

describe('the ratio of policy-aware rows', () => {
  it.each([
    ['self', [-Math.exp(0.1), -Math.exp(0.1)]],
    ['behavior', [-Math.exp(0.1), -Math.exp(-0.1)]],
    ['detached', [-1, -1]],
    ['shaped', [-Math.exp(0.1), (-0.1 * Math.exp(-1)) / (Math.exp(-1) + 0.1) ** 2]],
  ] as const)('%s', (ratioReference, expected) => {
    const { dLogp } = poro(plain, { ratioReference }).loss(pair);
    expected.forEach((g, i) => expect(dLogp[i]).toBeCloseTo(g, 12));
  });
  it('shaped takes its γ, or none', () => {
    expect(poro(plain, { ratioReference: 'shaped', shapingGamma: null }).loss(pair).dLogp[1]).toBeCloseTo(-Math.exp(-1), 12);
    expect(poro(plain, { ratioReference: 'shaped', shapingGamma: 0.5 }).loss(pair).dLogp[1]).toBeCloseTo((-0.5 * Math.exp(-1)) / (Math.exp(-1) + 0.5) ** 2, 12);
    for (const shapingGamma of [-1, 0]) expect(() => poro(plain, { shapingGamma })).toThrow(/shapingGamma/);
  });
  it('names what it needs', () => {
    expect(() => poro(plain, { ratioReference: 'behavior' }).loss({ ...pair, behaviorLogps: undefined })).toThrow(/behaviorLogps/);
    for (const ratioReference of ['behavior', 'shaped'] as const) expect(() => poro(plain, { ratioReference }).loss({ ...pair, origin: undefined })).toThrow(/origin/);
    for (const ratioReference of ['self', 'detached'] as const) expect(() => poro(plain, { ratioReference }).loss({ ...pair, origin: undefined, behaviorLogps: undefined })).not.toThrow();
  });
  it('self is not of an objective that divides by the sampler; with the others its needs stay', () => {
    const bypass = fromVerl({ rollout_correction: { bypass_mode: true } });
    expect(() => poro(bypass)).toThrow(/bypass_mode/);
    const behavior = poro(bypass, { ratioReference: 'behavior' });
    expect(behavior.loss(pair).dLogp[0]).toBeCloseTo(bypass.loss({ ...pair, origin: undefined }).dLogp[0] as number, 12);
    for (const ratioReference of ['behavior', 'shaped'] as const) {
      expect(() => poro(bypass, { ratioReference }).loss({ ...pair, behaviorLogps: undefined })).toThrow(/behaviorLogps/);
    }
  });
  it('weighs policy-aware rows only, after the base’s own weights', () => {
    const { dLogp } = poro(plain, { offPolicyWeight: { max: 0.5 } }).loss(pair);
    expect(dLogp[0]).toBeCloseTo(-Math.exp(0.1), 12);
    expect(dLogp[1]).toBeCloseTo(-0.5 * Math.exp(0.1), 12);
    const weighted = objective({ ...plain.parts, modifiers: [importanceWeights() as never] });
    expect(poro(weighted, { offPolicyWeight: { max: 0.5 } }).loss(pair).dLogp[0]).toBeCloseTo(-Math.exp(0.1) * Math.exp(-0.2), 12);
    expect(poro(weighted).loss(pair).dLogp[1]).toBeCloseTo(-Math.exp(0.1) * Math.exp(-0.2), 12);
  });
});

describe('what poro() makes of an objective', () => {
  it('samples twins, eight of each unless the base says otherwise', () => {
    expect(poro(plain).parts.sampling).toEqual({ numGenerations: 8, twins: true });
    expect(poro(grpo({ numGenerations: 3 })).parts.sampling).toMatchObject({ numGenerations: 3, twins: true });
    expect(poro(plain).name).toBe('poro(plain)');
  });
  it('takes any objective, but free-only one with groupNorm', () => {
    expect(() => poro(rloo())).not.toThrow();
    expect(() => poro(rloo(), { baseline: 'separate' })).not.toThrow();
    expect(() => poro(rloo(), { baseline: 'free-only' })).toThrow(/leaveOneOut/);
    expect(() => poro({} as never)).toThrow(/objective/);
    expect(() => poro(undefined as never)).toThrow(/objective/);
  });
});

describe('the baseline', () => {
  const input = { rewards: [1, 0, 3, 5, 2, 2, 4, 2], groupIds: ['a', 'a', 'a', 'a', 'b', 'b', 'b', 'b'], origin: [0, 0, 1, 1, 0, 0, 1, 0] as const };
  const base = objective({ name: 'centred', advantage: groupNorm({ scale: 'none' }), surrogate: reinforce(), aggregation: tokenSum() });
  it('of the union, of each half, of the policy-free half', () => {
    expect(Array.from(poro(base).advantages(input))).toEqual([-1.25, -2.25, 0.75, 2.75, -0.5, -0.5, 1.5, -0.5]);
    expect(Array.from(poro(base, { baseline: 'separate' }).advantages(input))).toEqual([0.5, -0.5, -1, 1, 0, 0, 0, 0]);
    expect(Array.from(poro(base, { baseline: 'free-only' }).advantages(input))).toEqual([0.5, -0.5, 2.5, 4.5, 0, 0, 2, 0]);
  });
  it('drops what speaks against the policy when asked to', () => {
    expect(Array.from(poro(base, { dropNegativePolicyRows: true }).advantages({ ...input, rewards: [1, 0, 0, 5, 2, 2, 4, 2] }))).toEqual([-0.5, -1.5, 0, 3.5, -0.5, -0.5, 1.5, -0.5]);
    expect(() => poro(base, { dropNegativePolicyRows: true }).advantages({ ...input, origin: undefined })).toThrow(/origin/);
  });
  it('needs origins, and a policy-free rollout in each group', () => {
    for (const baseline of ['separate', 'free-only'] as const) expect(() => poro(base, { baseline }).advantages({ ...input, origin: undefined })).toThrow(/origin/);
    expect(() => poro(base, { baseline: 'free-only' }).advantages({ ...input, origin: [1, 1, 1, 1, 0, 0, 1, 1] })).toThrow(/policy-free/);
  });
  it('of a policy-free half without a reward is none', () => {
    const a = poro(grpo(), { baseline: 'free-only' }).advantages({ rewards: [null, null, 1, 0], groupIds: [0, 0, 0, 0], origin: [0, 0, 1, 1] });
    expect(Array.from(a)).toEqual([0, 0, 0, 0]);
  });
  it('of the policy-free half, over the batch, in its own scale', () => {
    const unit = 2 ** 900;
    const a = poro(grpo({ scaleRewards: 'batch' }), { baseline: 'free-only' }).advantages({ rewards: [unit, unit, 3 * unit, unit], groupIds: [0, 0, 0, 0], origin: [0, 0, 1, 1] });
    [0, 0, 2, 0].forEach((x, i) => expect(a[i]).toBeCloseTo(x, 12));
    const tiny = poro(objective({ ...grpo().parts, advantage: groupNorm({ scale: 'batch', epsilon: 2 ** -600 }) }), { baseline: 'free-only' }).advantages({ rewards: [1, 1, 3, 1].map((r) => r * 2 ** -600), groupIds: [0, 0, 0, 0], origin: [0, 0, 1, 1] });
    [0, 0, 1, 0].forEach((x, i) => expect(tiny[i]).toBeCloseTo(x, 12));
  });
  it('leaves a group of policy-free rollouts to the base', () => {
    const verl = fromVerl({});
    const alone = { rewards: [3, 1, 2], groupIds: [0, 1, 1], origin: [0, 0, 0] as const };
    expect(Array.from(poro(verl, { baseline: 'free-only' }).advantages(alone))).toEqual(Array.from(verl.advantages(alone)));
  });
});

describe('rolloutMetrics', () => {
  it('without origins has no halves, without advantages no mean of them', () => {
    const m = rolloutMetrics({ rewards: [1, 1, 0, 2], groupIds: [0, 0, 1, 1] });
    expect(Object.keys(m).toSorted()).toEqual(['frac_reward_zero_std', 'reward', 'reward_std', 'rewards/reward/mean', 'rewards/reward/std']);
    expect(m).toMatchObject({ reward: 1, frac_reward_zero_std: 0.5, reward_std: Math.sqrt(2 / 3) });
    expect(rolloutMetrics({ rewards: [1, 3], groupIds: [0, 0], advantages: [2, 5] })['advantage/mean']).toBe(3.5);
  });
  it('counts rewards by their weights, as the advantages do', () => {
    const m = rolloutMetrics({ rewards: { right: [1, 1], form: [1, 0] }, rewardWeights: { right: 1, form: 0 }, groupIds: [0, 0], origin: ['free', 'policy'] });
    expect(m).toMatchObject({ reward: 1, reward_std: 0, frac_reward_zero_std: 1, 'rollout/policy_gain': 0, frac_groups_rescued: 0, 'rewards/form/mean': 0.5 });
  });
  it('is right at the ends of the range', () => {
    for (const unit of [2 ** 1000, 2 ** -600]) {
      const m = rolloutMetrics({ rewards: [unit, 3 * unit], groupIds: [0, 0], origin: [0, 1] });
      expect(m['reward']).toBe(2 * unit);
      expect((m['reward_std'] as number) / unit).toBeCloseTo(Math.SQRT2, 12);
      expect(m['rewards/reward/mean']).toBe(2 * unit);
      expect((m['rewards/reward/std'] as number) / unit).toBeCloseTo(Math.SQRT2, 12);
      const both = rolloutMetrics({ rewards: [unit, 3 * unit, unit, 3 * unit], groupIds: [0, 0, 0, 0], origin: [0, 0, 1, 1] });
      expect(both['reward/free']).toBe(2 * unit);
    }
  });
  it('leaves out what has no value', () => {
    const one = rolloutMetrics({ rewards: [1], groupIds: [0], origin: ['free'], advantages: [0.5] });
    expect(one).toEqual({ reward: 1, 'rewards/reward/mean': 1, frac_reward_zero_std: 1, 'advantage/mean': 0.5, 'reward/free': 1, 'frac_reward_zero_std/free': 1, 'advantage/free': 0.5, frac_groups_rescued: 0 });
    const policyOnly = rolloutMetrics({ rewards: [1, 0], groupIds: [0, 0], origin: ['policy', 'policy'] });
    expect(policyOnly).toMatchObject({ 'reward/policy': 0.5, frac_groups_rescued: 0 });
    expect(policyOnly).not.toHaveProperty('rollout/policy_gain');
    expect(policyOnly).not.toHaveProperty('reward/free');
    expect(policyOnly).not.toHaveProperty('advantage/policy');
  });
  it('counts the groups the policy rescued', () => {
    const rescued = (rewards: number[], origin: (0 | 1)[], groupIds = rewards.map(() => 0)): number => rolloutMetrics({ rewards, groupIds, origin })['frac_groups_rescued'] as number;
    expect(rescued([0, 0, 1, 0], [0, 0, 1, 1])).toBe(1);
    expect(rescued([0, 0, 0, 0], [0, 0, 1, 1])).toBe(0);
    expect(rescued([0, 1, 1, 0], [0, 0, 1, 1])).toBe(0);
    expect(rescued([0, 1], [0, 0])).toBe(0);
    expect(rescued([0, 0], [0, 0])).toBe(0);
    expect(rescued([0, 1], [1, 1])).toBe(0);
    expect(rescued([0, 0, 1, 0, 1, 0], [0, 0, 1, 0, 0, 1], [0, 0, 0, 1, 1, 1])).toBe(0.5);
  });
  it('shares of equal rewards are of the groups that have that half', () => {
    const m = rolloutMetrics({ rewards: [1, 1, 0, 1, 2, 2], groupIds: [0, 0, 1, 1, 2, 2], origin: [0, 0, 0, 0, 1, 1] });
    expect(m).toMatchObject({ frac_reward_zero_std: 2 / 3, 'frac_reward_zero_std/free': 0.5, 'frac_reward_zero_std/policy': 1 });
  });
});

describe('the gap between sampler and model', () => {
  // behaviour − old: rows 1 and 2 are policy-aware with gaps 0.5, 0.25 (and a masked NaN) and 1; row 3 is, and empty.
  const input = {
    logps: Array.from({ length: 12 }, (_, k) => ([5, 7, 8, 9, 10, 11].includes(k) ? NaN : -1)),
    oldLogps: [-1, -1, -1, -1.5, -1.25, NaN, -2, NaN, NaN, NaN, NaN, NaN],
    behaviorLogps: [-9, -9, -9, -1, -1, NaN, -1, NaN, NaN, NaN, NaN, NaN],
    advantages: [1, 1, 1, 1],
    mask: [1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0],
    shape: [4, 3] as [number, number],
    origin: [0, 1, 1, 1] as const,
  };
  it('is over active tokens of policy-aware rows', () => {
    const m = policyGap(readBatch(input));
    const gaps = [0.5, 0.25, 1];
    const mean = (of: (g: number) => number): number => gaps.reduce((sum, g) => sum + of(g), 0) / 3;
    expect(m['policy_gap/kl']).toBeCloseTo(mean((g) => g), 12);
    expect(m['policy_gap/k3_kl']).toBeCloseTo(mean((g) => Math.exp(-g) + g - 1), 12);
    expect(m['policy_gap/chi2']).toBeCloseTo(mean((g) => Math.exp(-2 * g)) - 1, 12);
    expect(m['policy_gap/log_ppl_diff']).toBeCloseTo((0.375 + 1) / 2, 12);
    const [v, w] = [Math.exp(-0.75), Math.exp(-1)];
    expect(m['policy_gap/ess']).toBeCloseTo((v + w) ** 2 / (2 * (v * v + w * w)), 12);
  });
  it('has no entry without such tokens', () => {
    expect(policyGap(readBatch({ ...input, origin: [0, 0, 0, 1] }))).toEqual({});
  });
  it('effective sample sizes', () => {
    expect(effectiveSampleSize([0, Math.log(3)])).toBeCloseTo(16 / 20, 12);
    expect(effectiveSampleSize([1000, 1000 + Math.log(3)])).toBeCloseTo(16 / 20, 12);
    expect(effectiveSampleSize([-5, -5, -5])).toBe(1);
    // Three rows: unlike for two, the weights and their inverses differ.
    const three = policyGap(readBatch({ logps: [0, 0, 0], oldLogps: [-1, -2, -4], behaviorLogps: [0, 0, 0], advantages: [1, 1, 1], mask: [1, 1, 1], shape: [3, 1], origin: [1, 1, 1] }));
    const ws = [1, 2, 4].map((g) => Math.exp(-g));
    expect(three['policy_gap/ess']).toBeCloseTo(ws.reduce((s, w) => s + w, 0) ** 2 / (3 * ws.reduce((s, w) => s + w * w, 0)), 12);
  });
});
