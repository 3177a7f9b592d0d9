/** @file Every advantage against its formula written out here, with missing rewards, groups of one and of equal rewards. */
import { describe, expect, it } from 'vitest';
import {
  type AdvantageInput, aspoAdvantages, gdpo, groupNorm, groupPolicyGradient, hdpoChannels, hgpoAdvantages, leaveOneOut, objective, optimalLengthBaseline, optimalTokenBaseline, passAtK, reinforce,
  reinforcePlusPlusAdvantage, reinforcePlusPlusTokens, remaxAdvantage, riskPoAdvantages, RolloutError, teacherReweight, tokenSum, toolPoAdvantages, xrpoAdvantages, type GroupNormOptions, type LeaveOneOutOptions, type RewardWeights,
} from '../index.ts';
import type { AdvantagePart } from './part.ts';
import { tokenMoments } from './whiten.ts';

const sum = (values: readonly number[]): number => values.reduce((total, x) => total + x, 0);
const mean = (values: readonly number[]): number => sum(values) / values.length;
const sd = (values: readonly number[], ddof = 1): number => Math.sqrt(sum(values.map((x) => (x - mean(values)) ** 2)) / (values.length - ddof));
const close = (actual: ArrayLike<number>, expected: readonly number[], digits = 11): void => {
  expect(actual.length).toBe(expected.length);
  expected.forEach((x, i) => expect(actual[i], `entry ${i}`).toBeCloseTo(x, digits));
};
const apply = (part: AdvantagePart, input: Partial<AdvantageInput> & Pick<AdvantageInput, 'rewards'>, rewardWeights?: RewardWeights): Float64Array =>
  objective({ name: 'test', advantage: part, rewardWeights, surrogate: reinforce(), aggregation: tokenSum() }).advantages({ groupIds, ...input });

/** Group a stands apart, with a missing reward; b is two equal ones; c is alone; d has none at all. */
const rewards = [1, 2, null, 0.5, 2, 4, 7, null];
const groupIds = ['a', 'b', 'a', 'a', 'b', 'a', 'c', 'd'];
const lengths = [3, 1, 5, 2, 4, 1, 6, 2];
const scored = [0, 1, 3, 4, 5, 6];
const valueOf = (i: number): number => rewards[i] as number;
/** The rewards of i's group that are there. */
const siblings = (i: number): number[] => scored.filter((j) => groupIds[j] === groupIds[i]).map(valueOf);
const everyone = scored.map(valueOf);
/** One formula for rewards in a group of several, one for those alone; a missing one gets 0. */
const expected = (several: (r: number, group: number[], i: number) => number, alone: (r: number) => number): number[] =>
  rewards.map((r, i) => (r === null ? 0 : siblings(i).length > 1 ? several(r, siblings(i), i) : alone(r)));
const zero = (): number => 0;
const same = (r: number): number => r;

describe('groupNorm', () => {
  const cases: [GroupNormOptions, (r: number, group: number[]) => number, (r: number) => number][] = [
    [{}, (r, g) => (r - mean(g)) / (sd(g) + 1e-4), zero],
    [{ epsilon: 0.5 }, (r, g) => (r - mean(g)) / (sd(g) + 0.5), zero],
    [{ epsilon: 0.5, singleton: 'raw' }, (r, g) => (r - mean(g)) / (sd(g) + 0.5), (r) => r / 1.5],
    [{ scale: 'none' }, (r, g) => r - mean(g), zero],
    [{ scale: 'none', singleton: 'raw' }, (r, g) => r - mean(g), same],
    [{ scale: 'batch', epsilon: 0.5 }, (r, g) => (r - mean(g)) / (sd(everyone) + 0.5), zero],
    [{ scale: 'batch', epsilon: 0.5, singleton: 'raw' }, (r, g) => (r - mean(g)) / (sd(everyone) + 0.5), same],
  ];
  it.each(cases)('%o', (options, several, alone) => close(apply(groupNorm(options), { rewards }), expected(several, alone)));
  it('by the deviation of what centring gave', () => {
    for (const singleton of ['zero', 'raw'] as const) {
      const centred = expected((r, g) => r - mean(g), singleton === 'raw' ? same : zero);
      const deviation = sd(scored.map((i) => centred[i] as number));
      close(apply(groupNorm({ scale: 'centred-batch', epsilon: 0.5, singleton }), { rewards }), centred.map((c) => c / (deviation + 0.5)));
    }
    close(apply(groupNorm({ scale: 'centred-batch' }), { rewards: [1, 1, 2, 2], groupIds: [0, 0, 1, 1] }), [0, 0, 0, 0]);
  });
  it('divides by the deviation of the batch in its own scale', () => {
    const huge = [2 ** 900, 3 * 2 ** 900, 0, 2 ** 900];
    const groups = [0, 0, 1, 1];
    const deviation = sd(huge.map((r) => r / 2 ** 900));
    close(apply(groupNorm({ scale: 'batch' }), { rewards: huge, groupIds: groups }), [-1, 1, -0.5, 0.5].map((c) => c / deviation));
    close(apply(groupNorm({ scale: 'centred-batch' }), { rewards: huge, groupIds: groups }), [-1, 1, -0.5, 0.5].map((c) => c / sd([-1, 1, -0.5, 0.5])));
    close(apply(groupNorm({ scale: 'batch', epsilon: 2 ** -600 }), { rewards: huge.map((r) => (r / 2 ** 900) * 2 ** -600), groupIds: groups }), [-1, 1, -0.5, 0.5].map((c) => c / (deviation + 1)));
    close(apply(groupNorm({ scale: 'centred-batch', epsilon: 2 ** -600 }), { rewards: huge.map((r) => (r / 2 ** 900) * 2 ** -600), groupIds: groups }), [-1, 1, -0.5, 0.5].map((c) => c / (sd([-1, 1, -0.5, 0.5]) + 1)));
    close(apply(groupNorm({ scale: 'batch' }), { rewards: [3, 3, 3], groupIds: [0, 0, 1] }), [0, 0, 0]);
  });
  it('refuses options that are none', () => {
    expect(() => groupNorm({ epsilon: -1 })).toThrow(/epsilon/);
    expect(() => groupNorm({ scale: 'groups' as never })).toThrow(/scaleRewards/);
  });
});

describe('leaveOneOut', () => {
  const others = (r: number, g: number[]): number => r - (sum(g) - r) / (g.length - 1);
  const cases: [LeaveOneOutOptions, (r: number, group: number[]) => number, (r: number) => number][] = [
    [{}, others, zero],
    [{ singleton: 'raw' }, others, same],
    [{ scale: 'group' }, (r, g) => others(r, g) / (sd(g) + 1e-4), zero],
    [{ scale: 'batch' }, (r, g) => others(r, g) / (sd(everyone) + 1e-4), zero],
  ];
  it.each(cases)('%o', (options, several, alone) => close(apply(leaveOneOut(options), { rewards }), expected(several, alone)));
  it('then whitened over the rollouts that have a reward', () => {
    const plain = expected(others, zero);
    const present = scored.map((i) => plain[i] as number);
    close(apply(leaveOneOut({ normalizeAdvantages: true }), { rewards }), plain.map((a, i) => (scored.includes(i) ? (a - mean(present)) / (sd(present) + 1e-4) : 0)));
  });
  it('divides by the deviation of the batch in its own scale', () => {
    const unit = 2 ** 900;
    const deviation = sd([1, 3, 0, 1]);
    close(apply(leaveOneOut({ scale: 'batch' }), { rewards: [unit, 3 * unit, 0, unit], groupIds: [0, 0, 1, 1] }), [-2, 2, -1, 1].map((c) => c / deviation));
    const tiny = 2 ** -600;
    close(apply(leaveOneOut({ scale: 'batch' }), { rewards: [tiny, 3 * tiny, 0, tiny], groupIds: [0, 0, 1, 1] }), [0, 0, 0, 0]);
    close(apply(leaveOneOut({ scale: 'batch' }), { rewards: [3, 3, 3, 3], groupIds: [0, 0, 1, 1] }), [0, 0, 0, 0]);
  });
});

describe('other baselines', () => {
  it('ReMax', () => {
    close(apply(remaxAdvantage(), { rewards, baselineRewards: [0.5, 1, 1, 2, 3, 0, 1, 1] }), [0.5, 1, 0, -1.5, -1, 4, 6, 0]);
    expect(() => apply(remaxAdvantage(), { rewards })).toThrow(/baselineRewards/);
  });
  it('OPO weighs the mean by length', () => {
    const weighted = (_: number, __: number[], i: number): number => {
      const group = scored.filter((j) => groupIds[j] === groupIds[i]);
      return valueOf(i) - sum(group.map((j) => (lengths[j] as number) * valueOf(j))) / sum(group.map((j) => lengths[j] as number));
    };
    close(apply(optimalLengthBaseline(), { rewards, lengths }), expected(weighted, same));
    const unit = 2 ** 900;
    close(Array.from(apply(optimalLengthBaseline(), { rewards: [unit, 3 * unit], groupIds: [0, 0], lengths: [1, 3] }), (a) => a / unit), [-1.5, 0.5]);
    expect(() => apply(optimalLengthBaseline(), { rewards: [1, 2], groupIds: [0, 0], lengths: [0, 0] })).toThrow(/lengths/);
    // Without tokens there is still nothing to compare in a group of one or of equal rewards.
    close(apply(optimalLengthBaseline(), { rewards: [1, 1, 5], groupIds: [0, 0, 1], lengths: [0, 0, 0] }), [0, 0, 5]);
    close(apply(optimalLengthBaseline(), { rewards: [1, 2, 5], groupIds: [0, 0, 1], lengths: [0, 2, 0] }), [-1, 0, 5]);
    expect(() => apply(optimalLengthBaseline(), { rewards })).toThrow(/lengths/);
  });
  it('GPG scales by the share of rewards other than 0', () => {
    close(apply(groupPolicyGradient(), { rewards: [1, 0, null, 0, 3, 0], groupIds: [0, 0, 0, 1, 1, 2] }), [0.5, -0.5, 0, -1.5, 1.5, 0].map((c) => (5 / 2) * c));
    close(apply(groupPolicyGradient(), { rewards: [4, 0], groupIds: [0, 1] }), [8, 0]);
    close(apply(groupPolicyGradient(), { rewards: [0, 0], groupIds: [0, 0] }), [0, 0]);
  });
  it('pass@k pushes a group’s best by its lead', () => {
    const input = { rewards: [1, 5, null, 3, 2, 2, 9, 9], groupIds: [0, 0, 0, 0, 1, 1, 2, 2] };
    close(apply(passAtK(), input), [0, 2 / (sd([1, 5, 3]) + 1e-6), 0, 0, 0, 0, 0, 0]);
    close(apply(passAtK({ normalize: false }), input), [0, 2, 0, 0, 0, 0, 0, 0]);
    close(apply(passAtK({ epsilon: 1 }), { rewards: [5, 1, 3, 4], groupIds: [0, 0, 0, 0] }), [1 / (sd([5, 1, 3, 4]) + 1), 0, 0, 0]);
    // The first of two equally good ones, with no lead.
    close(apply(passAtK({ normalize: false }), { rewards: [1, 4, 4, 2], groupIds: [0, 0, 0, 0] }), [0, 0, 0, 0]);
    close(apply(passAtK({ normalize: false }), { rewards: [3, 1, 2], groupIds: [0, 0, 0] }), [1, 0, 0]);
    close(apply(passAtK({ normalize: false }), { rewards: [-3, -1, -2], groupIds: [0, 0, 0] }), [0, 1, 0]);
    const unit = 2 ** 900;
    close(apply(passAtK(), { rewards: [unit, 4 * unit], groupIds: [0, 0] }), [0, 3 / sd([1, 4])]);
    expect(apply(passAtK({ normalize: false }), { rewards: [unit, 4 * unit], groupIds: [0, 0] })[1]).toBe(3 * unit);
    close(apply(passAtK({ epsilon: 2 ** -600 }), { rewards: [2 ** -600, 4 * 2 ** -600], groupIds: [0, 0] }), [0, 3 / (sd([1, 4]) + 1)]);
    expect(() => apply(passAtK(), { rewards: [1, 2], groupIds: [0, 1] })).toThrow(/2 rollouts/);
    // A missing reward leaves the group nothing to compare, and takes nothing from the others.
    close(apply(passAtK({ normalize: false }), { rewards: [1, null, 3, 2], groupIds: [0, 0, 1, 1] }), [0, 0, 1, 0]);
    close(apply(passAtK(), { rewards: [null, null], groupIds: [0, 0] }), [0, 0]);
  });
});

describe('whitening over tokens', () => {
  /** The value of each token of each row that has a reward. */
  const spread = (values: readonly (number | null)[]): number[] => values.flatMap((v, i) => (v === null ? [] : Array<number>(lengths[i] as number).fill(v)));
  const whitened = (values: readonly (number | null)[], ddof: number, epsilon: number): number[] => {
    const tokens = spread(values);
    const m = sum(tokens) / (tokens.length + epsilon);
    const variance = sum(tokens.map((x) => (x - m) ** 2)) / (tokens.length + epsilon);
    const scale = ddof === 0 ? Math.sqrt(Math.max(variance, 1e-8)) : Math.sqrt((variance * tokens.length) / (tokens.length - 1) + 1e-8);
    return values.map((v) => (v === null ? 0 : (v - m) / scale));
  };
  it.each([[1, 0], [1, 1e-8], [1, 2], [0, 0], [0, 2]] as const)('REINFORCE++ with ddof %d, epsilon %f', (ddof, countEpsilon) => {
    close(apply(reinforcePlusPlusAdvantage({ ddof, countEpsilon }), { rewards, lengths }), whitened(rewards, ddof, countEpsilon));
    for (const singleton of ['zero', 'raw'] as const) {
      const centred = rewards.map((r, i) => (r === null ? null : siblings(i).length > 1 ? r - mean(siblings(i)) : singleton === 'raw' ? r : 0));
      close(apply(reinforcePlusPlusAdvantage({ baseline: true, singleton, ddof, countEpsilon }), { rewards, lengths }), whitened(centred, ddof, countEpsilon));
    }
  });
  it('REINFORCE++ by default, and without tokens', () => {
    close(apply(reinforcePlusPlusAdvantage(), { rewards, lengths }), whitened(rewards, 1, 0));
    expect(reinforcePlusPlusAdvantage().name).not.toBe(reinforcePlusPlusAdvantage({ baseline: true }).name);
    close(apply(reinforcePlusPlusAdvantage(), { rewards: [1, 2, 9], groupIds: [0, 0, 0], lengths: [1, 1, 0] }), [-Math.SQRT1_2, Math.SQRT1_2, 0], 7);
    close(apply(reinforcePlusPlusAdvantage(), { rewards: [3, 3], groupIds: [0, 0], lengths: [2, 5] }), [0, 0]);
    close(apply(reinforcePlusPlusAdvantage(), { rewards: [3], groupIds: [0], lengths: [1] }), [0]);
    close(apply(reinforcePlusPlusAdvantage(), { rewards: [3], groupIds: [0], lengths: [0] }), [0]);
    expect(() => apply(reinforcePlusPlusAdvantage(), { rewards })).toThrow(/lengths/);
  });
  it('REINFORCE++ where squares overflow', () => {
    const unit = 2 ** 900;
    close(apply(reinforcePlusPlusAdvantage(), { rewards: [unit, -unit, unit, -unit], groupIds: [0, 0, 0, 0], lengths: [1, 1, 1, 1] }), [1, -1, 1, -1].map((x) => x * Math.sqrt(3 / 4)));
    close(apply(reinforcePlusPlusAdvantage(), { rewards: [-unit, 0], groupIds: [0, 0], lengths: [1, 1] }), [-Math.SQRT1_2, Math.SQRT1_2]);
  });
  it('moments know rows without tokens, one token, none', () => {
    expect(tokenMoments([5, 7], [0, 0], [0, 1], 0)).toEqual({ mean: 0, inverseSd: 1 });
    expect(tokenMoments([5, 7], [0, 1], [0, 1], 0)).toEqual({ mean: 7, inverseSd: 1 });
    expect(tokenMoments([5, 7], [0, 1], [0, 1], 0, 0)).toEqual({ mean: 7, inverseSd: 1e4 });
    expect(tokenMoments([5, 7], [0, 0], [0, 1], 0, 0)).toEqual({ mean: 0, inverseSd: 1 });
    expect(tokenMoments([0.1, 0.1, 9], [3, 4, 0], [0, 1, 2], 0).mean).toBe(0.1);
    expect(tokenMoments([NaN, 1, 3], [0, 1, 1], [0, 1, 2], 0)).toEqual({ mean: 2, inverseSd: 1 / Math.sqrt(2 + 1e-8) });
    expect(tokenMoments([4, 4], [1, 1], [0, 1], 2).mean).toBe(2);
    expect(tokenMoments([1, 3, 9], [1, 1, 1], [0, 1], 0).mean).toBe(2);
  });
});

describe('gdpo', () => {
  const columns = { answer: [1, 0, 1, null, 4, 2], style: [3, 5, null, null, 1, 1] };
  const ids = [0, 0, 0, 0, 1, 1];
  const weights = { answer: 2, style: 0.5 };
  const z = (name: 'answer' | 'style', i: number, epsilon: number): number => {
    const column = columns[name];
    const group = column.filter((r, j) => r !== null && ids[j] === ids[i]) as number[];
    const r = column[i];
    return r === null || r === undefined || group.length < 2 || sd(group) === 0 ? 0 : (r - mean(group)) / (sd(group) + epsilon);
  };
  const summed = (epsilon: number): number[] => ids.map((_, i) => 2 * z('answer', i, epsilon) + 0.5 * z('style', i, epsilon));
  const rows = [0, 1, 2, 4, 5];
  it('whitens over sequences', () => {
    for (const epsilon of [1e-4, 0.3]) {
      const s = summed(epsilon);
      const present = rows.map((i) => s[i] as number);
      close(apply(gdpo({ epsilon }), { rewards: columns, groupIds: ids }, weights), s.map((x, i) => (i === 3 ? 0 : (x - mean(present)) / (sd(present) + epsilon))));
    }
    const s = summed(1e-4);
    const present = rows.map((i) => s[i] as number);
    close(apply(gdpo(), { rewards: columns, groupIds: ids }, weights), s.map((x, i) => (i === 3 ? 0 : (x - mean(present)) / (sd(present) + 1e-4))));
  });
  it('whitens over tokens', () => {
    const t = [2, 1, 3, 4, 1, 5];
    const s = summed(1e-4);
    const tokens = rows.flatMap((i) => Array<number>(t[i] as number).fill(s[i] as number));
    const m = sum(tokens) / (tokens.length + 1e-8);
    const variance = sum(tokens.map((x) => (x - m) ** 2)) / (tokens.length + 1e-8);
    const scale = Math.sqrt((variance * tokens.length) / (tokens.length - 1) + 1e-8);
    close(apply(gdpo({ over: 'tokens' }), { rewards: columns, groupIds: ids, lengths: t }, weights), s.map((x, i) => (i === 3 ? 0 : (x - m) / scale)));
    expect(() => apply(gdpo({ over: 'tokens' }), { rewards: columns, groupIds: ids })).toThrow(/lengths/);
    expect(gdpo().needs).toEqual([]);
  });
  it('is 0 for a rollout alone, and starts from nothing', () => {
    close(apply(gdpo(), { rewards: [5], groupIds: [0] }), [0]);
    close(apply(gdpo(), { rewards: [5, null], groupIds: [0, 0], out: Float64Array.of(7, 7) }), [0, 0]);
  });
});

describe('advantages of tokens', () => {
  const base = { rewards: [1, null, 3], groupIds: [0, 0, 0], mask: [1, 0, 1, 1, 1, 1, 0, 1, 0], shape: [3, 3] as [number, number] };
  it('REINFORCE++ with a discount, over masked tokens', () => {
    for (const [gamma, epsilon] of [[0.5, 0], [1, 1e-8], [0.9, 1]] as const) {
      // Row 0 is active at 0 and 2, row 2 at 1 only; row 1 has no reward.
      const returns = new Map([[0, gamma], [2, 1], [7, 3]]);
      const values = [...returns.values()];
      const m = sum(values) / (3 + epsilon);
      const variance = (sum(values.map((x) => (x - m) ** 2)) / (3 + epsilon)) * (3 / 2);
      close(reinforcePlusPlusTokens(base, { gamma, countEpsilon: epsilon }), base.mask.map((_, k) => (returns.has(k) ? ((returns.get(k) as number) - m) / Math.sqrt(variance + 1e-8) : 0)));
    }
    // OpenRLHF's deviation is the population's: two rewards apart by 1 are ±1.
    close(reinforcePlusPlusTokens({ rewards: [1, 0], groupIds: [0, 1], mask: [1, 1], shape: [2, 1] }, { ddof: 0 }), [0.5 / Math.sqrt(0.25 + 1e-8), -0.5 / Math.sqrt(0.25 + 1e-8)]);
    // γ is 1 unless said; equal returns are 0, one token and none too.
    close(reinforcePlusPlusTokens({ ...base, rewards: [2, null, 2] }), base.mask.map(() => 0));
    close(reinforcePlusPlusTokens({ ...base, rewards: [2, null, null], mask: [1, 0, 0, 1, 1, 1, 0, 0, 0] }), base.mask.map(() => 0));
    close(reinforcePlusPlusTokens({ ...base, rewards: [2, null, null], mask: [1, 0, 0, 1, 1, 1, 0, 0, 0] }, { countEpsilon: 1e-8 }), base.mask.map(() => 0));
    expect(Array.from(reinforcePlusPlusTokens({ rewards: [0.1, 0.1, 0.1], groupIds: [0, 0, 0], mask: [1, 1, 1], shape: [3, 1] }))).toEqual([0, 0, 0]);
    expect(Array.from(reinforcePlusPlusTokens({ rewards: [0], groupIds: [0], mask: [1], shape: [1, 1] }, { countEpsilon: 1e-8 }))).toEqual([0]);
    const tiny = reinforcePlusPlusTokens({ rewards: [2 ** -600, -(2 ** -600)], groupIds: [0, 1], mask: [1, 1], shape: [2, 1] });
    expect(Math.abs(tiny[0] as number)).toBeLessThan(1e-100);
    expect(() => reinforcePlusPlusTokens({ ...base, mask: undefined as never })).toThrow(RolloutError);
    const trace = reinforcePlusPlusTokens({ ...base, rewards: [2, null, 2] }, { countEpsilon: 1e-2 });
    expect(trace[0]).toBeCloseTo((2 - 6 / 3.01) / Math.sqrt(((3 * (2 - 6 / 3.01) ** 2) / 3.01) * 1.5 + 1e-8), 10);
    const unit = 2 ** 900;
    close(reinforcePlusPlusTokens({ rewards: [unit, -unit], groupIds: [0, 1], mask: [1, 1], shape: [2, 1] }), [Math.SQRT1_2, -Math.SQRT1_2]);
    close(reinforcePlusPlusTokens({ rewards: [2 ** -600, -(2 ** -600)], groupIds: [0, 1], mask: [1, 1], shape: [2, 1] }), [0, 0]);
    close(reinforcePlusPlusTokens({ rewards: [[1, 0], [0, 1]], rewardWeights: [1, 3], groupIds: [0, 1], mask: [1, 1], shape: [2, 1] }), [-1 / Math.sqrt(2 + 1e-8), 1 / Math.sqrt(2 + 1e-8)]);
    for (const shape of [[2, 3], [3, 2], [9, 1]] as const) expect(() => reinforcePlusPlusTokens({ ...base, shape })).toThrow(/shape/);
  });
  it('the optimal token baseline', () => {
    // Group 0: rows of 3, 2 and 0 active tokens, and one without a reward; group 1: a row alone.
    const mask = [1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1];
    const rewardsHere = [2, 5, 7, null, 4];
    const p = mask.map((_, k) => 0.1 + 0.05 * k);
    const sumPiSquared = p.map((x) => x * x + 0.01);
    const input = { rewards: rewardsHere, groupIds: [0, 0, 0, 0, 1], mask, shape: [5, 3] as [number, number], oldLogps: p.map(Math.log), sumPiSquared };
    const step = (k: number): number => 1 - 2 * (p[k] as number) + (sumPiSquared[k] as number);
    const w0 = [step(0), step(0) + step(1)];
    const w1 = [step(4), step(4) + step(5)];
    const baseline = w0.map((w, t) => (2 * w + 5 * (w1[t] as number)) / (w + (w1[t] as number) + 1e-8));
    const expectedOut = Array<number>(15).fill(0);
    // The third token of row 0 has no one to compare with.
    [[0, 2 - (baseline[0] as number)], [1, 2 - (baseline[1] as number)], [2, 2], [4, 5 - (baseline[0] as number)], [5, 5 - (baseline[1] as number)], [12, 4], [14, 4]].forEach(([k, a]) => (expectedOut[k as number] = a as number));
    close(optimalTokenBaseline(input, { align: 'tokens' }), expectedOut);
    // By positions: the first has row 0 alone, the second its first two tokens beside the first of row 1.
    const summed = [step(0), step(0) + step(1), step(0) + step(1) + step(2)];
    const b = [(2 * summed[0]!) / (summed[0]! + 1e-8), (2 * summed[1]! + 5 * step(4)) / (summed[1]! + step(4) + 1e-8), (2 * summed[2]! + 5 * w1[1]!) / (summed[2]! + w1[1]! + 1e-8)];
    const byPosition = [...expectedOut];
    [[0, 2 - b[0]!], [1, 2 - b[1]!], [2, 2], [4, 5 - b[1]!], [5, 5 - b[2]!]].forEach(([k, a]) => (byPosition[k as number] = a as number));
    close(optimalTokenBaseline(input), byPosition);
    // Weights of 2 at the first two tokens of row 0, of 3 at row 1's: squared, they scale the path variance.
    const importanceWeights = mask.map((_, k) => (k < 2 ? 2 : k >= 3 && k < 6 ? 3 : 1));
    const scaled = (2 * 4 * (step(0) + step(1)) + 5 * 9 * step(4)) / (4 * (step(0) + step(1)) + 9 * step(4) + 1e-8);
    expect(optimalTokenBaseline({ ...input, importanceWeights })[1]).toBeCloseTo(2 - scaled, 11);
    expect(() => optimalTokenBaseline({ ...input, importanceWeights: [1] })).toThrow('importanceWeights');
    expect(() => optimalTokenBaseline(input, { align: 'turns' as never })).toThrow(/align/);
    const weighted = optimalTokenBaseline({ ...input, rewards: rewardsHere.map((r) => [r, r]), rewardWeights: [0.5, 1.5] }, { align: 'tokens' });
    close(weighted, expectedOut.map((a) => 2 * a));
    for (const name of ['oldLogps', 'sumPiSquared'] as const) expect(() => optimalTokenBaseline({ ...input, [name]: [1] })).toThrow(name);
    for (const name of ['oldLogps', 'sumPiSquared'] as const) expect(() => optimalTokenBaseline({ ...input, [name]: undefined })).toThrow(RolloutError);
    expect(() => optimalTokenBaseline({ ...input, shape: [3, 5] })).toThrow(/shape/);
  });
  it('RLSD, bounded on either side of 1', () => {
    const gaps = [0.1, -0.1, 1, -1, 0];
    for (const a of [2, -2, 0]) {
      for (const [lambda, epsilon] of [[0.5, 0.2], [1, 0.05], [0, 1]] as const) {
        const out = teacherReweight({ advantages: [a], teacherLogps: gaps.map((g) => g - 2), logps: gaps.map(() => -2), shape: [1, 5] }, { lambda, epsilon });
        close(out, gaps.map((g) => a * (1 - lambda + lambda * Math.min(Math.max(Math.exp(Math.sign(a) * g), 1 - epsilon), 1 + epsilon))));
      }
    }
    close(teacherReweight({ advantages: [1, -1], teacherLogps: [1e4, 1e4], logps: [0, 0], shape: [2, 1] }), [1.1, -0.9]);
    const fit = { advantages: [1], teacherLogps: [0, 0], logps: [0, 0], shape: [1, 2] as [number, number] };
    for (const wrong of [{ advantages: [1, 1] }, { teacherLogps: [0] }, { logps: [0] }]) expect(() => teacherReweight({ ...fit, ...wrong })).toThrow(/shape/);
    for (const options of [{ lambda: -0.1 }, { lambda: 1.1 }]) expect(() => teacherReweight(fit, options)).toThrow(/lambda/);
    expect(() => teacherReweight(fit, { epsilon: -0.1 })).toThrow(/epsilon/);
  });
});

describe('several channels', () => {
  it('HDPO', () => {
    const input = { rewards: [1, 0, 1, 1, 1, 0], groupIds: [0, 0, 0, 0, 1, 1], correct: [1, 0, 1, 1, 1, 0], toolCalls: [0, 5, 1, 3, 2, 0] };
    const [accuracy, tool] = hdpoChannels(input, { accuracyWeight: 2, toolWeight: 3, epsilon: 0.1 });
    expect(accuracy).toMatchObject({ name: 'accuracy', weight: 2 });
    expect(tool).toMatchObject({ name: 'tool', weight: 3 });
    close(accuracy?.advantages as Float64Array, [1, 0, 1, 1].map((r) => (r - 0.75) / (sd([1, 0, 1, 1]) + 0.1)).concat([0.5, -0.5].map((c) => c / (Math.SQRT1_2 + 0.1))));
    const efficiency = [1, 1 / 2, 1 / 4];
    const of = (e: number): number => (e - mean(efficiency)) / (sd(efficiency) + 0.1);
    close(tool?.advantages as Float64Array, [of(1), 0, of(1 / 2), of(1 / 4), 0, 0]);
    for (const wrong of [{ correct: undefined }, { toolCalls: undefined }]) expect(() => hdpoChannels({ ...input, ...wrong } as never)).toThrow(RolloutError);
    for (const wrong of [{ correct: [1] }, { toolCalls: [1] }]) expect(() => hdpoChannels({ ...input, ...wrong })).toThrow(Object.keys(wrong)[0] as string);
  });
  it('ToolPO', () => {
    const input = { rewards: [1, 0, 4], groupIds: [0, 0, 1], actionRewards: [4, 2, 9], actionMask: [0, 1, 1, 0, 1, 1], shape: [3, 2] as [number, number] };
    close(toolPoAdvantages(input), [0.5, 1.5, -1.5, -0.5, 0, 0]);
    for (const wrong of [{ actionRewards: [1] }, { actionMask: [1] }]) expect(() => toolPoAdvantages({ ...input, ...wrong })).toThrow(Object.keys(wrong)[0] as string);
    expect(() => toolPoAdvantages({ ...input, shape: [2, 3] })).toThrow(/shape\[0\]/);
  });
  it('ASPO', () => {
    const input = { advantages: [1, 2, -1, 0.1, 3], groupIds: [0, 0, 0, 0, 1], eligible: [1, 1, 0, 1, 0], firstToolPosition: [10, 40, 99, 70, 5], lengths: [100, 50, 999, 150, 10] };
    // Mean position 40, mean length 100 over the eligible rows of group 0.
    const bonus = (a: number, p: number, delta: number, k: number): number => a + Math.min(Math.max((delta * (p - 40)) / 100, -k * Math.abs(a)), k * Math.abs(a));
    for (const [delta, k] of [[-2, 0.7], [1, 0.1]] as const) close(aspoAdvantages(input, { delta, k }), [bonus(1, 10, delta, k), bonus(2, 40, delta, k), -1, bonus(0.1, 70, delta, k), 3]);
    close(aspoAdvantages(input), [bonus(1, 10, -2, 0.7), 2, -1, bonus(0.1, 70, -2, 0.7), 3]);
    close(aspoAdvantages({ ...input, advantages: [-1, -2, -1, -0.1, 3] }), [-0.4, -2, -1, -0.17, 3]);
    close(aspoAdvantages({ ...input, lengths: [0, 0, 0, 0, 0] }), [1, 2, -1, 0.1, 3]);
    for (const wrong of [{ eligible: [1] }, { firstToolPosition: [1] }, { lengths: [1] }]) expect(() => aspoAdvantages({ ...input, ...wrong })).toThrow(Object.keys(wrong)[0] as string);
  });
  it('XRPO', () => {
    const input = { advantages: [1, 0.2, -1, 0.5, 2, 0], groupIds: [0, 0, 0, 0, 1, 1], meanLogps: [-1.2, -2, -0.8, -2, -3, -1], correct: [1, 1, 1, 0, 1, 1] };
    const eta = (s: number, m: number): number => Math.exp(s - m);
    for (const [lambda, kappa] of [[2.5, 0.5], [0.3, 9]] as const) {
      const of = (a: number, s: number, m: number): number => a + Math.min(Math.max(lambda * (1 - eta(s, m)), 0), kappa * a);
      close(xrpoAdvantages(input, { lambda, kappa }), [of(1, -1.2, -1.5), of(0.2, -2, -1.5), -1, 0.5, of(2, -3, -2), 0]);
    }
    close(xrpoAdvantages(input), [1, 0.3, -1, 0.5, 2 + Math.min(2.5 * (1 - Math.exp(-1)), 1), 0]);
    // A likelier answer than its group's is left alone, however much likelier.
    close(xrpoAdvantages({ advantages: [1, 1], groupIds: [0, 0], meanLogps: [-1, -1e5], correct: [1, 0] }), [1, 1]);
    for (const wrong of [{ meanLogps: [1] }, { correct: [1] }]) expect(() => xrpoAdvantages({ ...input, ...wrong })).toThrow(Object.keys(wrong)[0] as string);
  });
});

describe('RiskPO', () => {
  const scores = [0, 1, 4, 6, 9];
  const raw = (s: number, low: number, high: number, alpha: number, beta: number, omega: number): number => {
    const range = (Math.max(s - low, 0) - Math.max(s - high, 0) + low - high) / (beta - alpha);
    return (omega * (-Math.max(low - s, 0) / alpha) + range) / (1 + omega);
  };
  it('with tracked quantiles', () => {
    const { advantages, state } = riskPoAdvantages(scores, { low: 2, high: 6 }, { alpha: 0.3, beta: 0.8, omega: 0.5, quantileRate: 0.2, normalize: false });
    close(advantages, scores.map((s) => raw(s, 2, 6, 0.3, 0.8, 0.5)));
    // Two of five at or below 2, four at or below 6.
    expect(state.low).toBeCloseTo(2 + 0.2 * (0.3 - 2 / 5), 12);
    expect(state.high).toBeCloseTo(6 + 0.2 * (0.8 - 4 / 5), 12);
  });
  it('with the bundle’s own, at first or always', () => {
    // 0.2 of four steps is 0.8, 0.9 of them 3.6.
    const [low, high] = [0.8, 6 + 0.6 * 3];
    const plain = scores.map((s) => raw(s, low, high, 0.2, 0.9, 1.5));
    for (const { advantages } of [riskPoAdvantages(scores, undefined, { normalize: false }), riskPoAdvantages(scores, { low: 99, high: 99 }, { quantileRate: 0, normalize: false })]) close(advantages, plain.map((a) => Math.min(a, 0)));
    close(riskPoAdvantages(scores, undefined).advantages, plain.map((a) => Math.min(a, 0) / (sd(plain.map((x) => Math.min(x, 0))) + 1e-6)));
    const own = riskPoAdvantages(scores, { low: 2, high: 6 }, { quantileRate: 0 }).state;
    close([own.low, own.high], [low, high]);
    expect(riskPoAdvantages(scores, undefined).state.low).toBeCloseTo(low + 0.1 * (0.2 - 1 / 5), 12);
    close(riskPoAdvantages([3], undefined).advantages, [0]);
    close(riskPoAdvantages([3], { low: 4, high: 5 }).advantages, [raw(3, 4, 5, 0.2, 0.9, 1.5)]);
  });
  it('divides by the deviation in its own scale', () => {
    const unit = 2 ** 600;
    const { advantages } = riskPoAdvantages(scores.map((s) => s * unit), { low: 2 * unit, high: 6 * unit });
    const plain = scores.map((s) => raw(s, 2, 6, 0.2, 0.9, 1.5));
    close(advantages, plain.map((a) => a / sd(plain)));
  });
  it('refuses levels that are none', () => {
    for (const [name, options] of [['alpha', { alpha: 0 }], ['beta', { beta: 0.1 }], ['beta', { beta: 1.1 }], ['beta', { alpha: 0.5, beta: 0.5 }], ['omega', { omega: -1 }]] as const) expect(() => riskPoAdvantages(scores, undefined, options)).toThrow(name);
    expect(() => riskPoAdvantages([], undefined)).toThrow(/scores/);
    expect(() => riskPoAdvantages([1, NaN], undefined)).toThrow(/scores\[1\]/);
  });
});

describe('HGPO', () => {
  const steps = (text: string): { state: string; reward: number }[] => text.split(' ').map((step) => ({ state: step[0] as string, reward: Number(step.slice(1)) }));
  const rollouts = ['s1 t0 u2', 's0 t3 u1', 'x2 t1 u1', 's1 v0'].map(steps);
  const returns = (gamma: number): number[][] => rollouts.map((rollout) => rollout.map((_, t) => sum(rollout.slice(t).map((step, n) => gamma ** n * step.reward))));
  /** By definition: the weighted mean over nested groups that say something. */
  const reference = (gamma: number, history: number, alpha: number, normalize: boolean): number[][] => {
    const values = returns(gamma);
    return rollouts.map((rollout, r) =>
      rollout.map((_, t) => {
        let weighted = 0;
        let weights = 0;
        for (let k = 1; k <= Math.min(history + 1, t + 1); k++) {
          const key = rollout.slice(t + 1 - k, t + 1).map((step) => step.state).join('');
          const group = rollouts.flatMap((other, o) => other.flatMap((__, u) => (u + 1 >= k && other.slice(u + 1 - k, u + 1).map((step) => step.state).join('') === key ? [values[o]?.[u] as number] : [])));
          if (group.length < 2 || sd(group, 0) === 0) continue;
          const centred = (values[r]?.[t] as number) - mean(group);
          if (centred === 0) continue;
          const a = normalize ? centred / (sd(group, 0) + 1e-6) : centred;
          weighted += (k + 1) ** alpha * a;
          weights += (k + 1) ** alpha;
        }
        return weights === 0 ? 0 : weighted / weights;
      }),
    );
  };
  it.each([[0.95, 2, 1, true], [0.5, 2, 1, false], [1, 1, 2, true], [0.9, 0, 0, false], [0, 2, -1, true]] as const)('gamma %f, history %d, alpha %f, normalize %s', (gamma, history, alpha, normalize) => {
    const expectedOut = reference(gamma, history, alpha, normalize);
    hgpoAdvantages(rollouts, { gamma, history, alpha, normalize }).forEach((a, r) => close(a, expectedOut[r] as number[], 9));
  });
  it('by default, and in its own scale', () => {
    hgpoAdvantages(rollouts).forEach((a, r) => close(a, reference(0.95, 2, 1, true)[r] as number[], 9));
    const unit = 2 ** 900;
    const [a] = hgpoAdvantages([[{ state: 's', reward: unit }], [{ state: 's', reward: 3 * unit }]]);
    close(a as Float64Array, [-1]);
    expect(hgpoAdvantages([[{ state: 's', reward: unit }], [{ state: 's', reward: 3 * unit }]], { normalize: false })[0]?.[0]).toBe(-unit);
    const tiny = 2 ** -600;
    expect(hgpoAdvantages([[{ state: 's', reward: tiny }], [{ state: 's', reward: 3 * tiny }]])[0]?.[0]).toBeCloseTo(0, 12);
  });
  it('lets a step in the middle of its group say nothing', () => {
    // Three returns at s: 0, 1 and 2; from there two at t after s: 1 and 0. The middle one of s has only the second group.
    const three = ['s0', 's1', 's2'].map(steps);
    close(hgpoAdvantages(three, { normalize: false }).map((a) => a[0] as number), [-1, 0, 1]);
    const nested = ['a0 s0', 'b0 s1', 'b0 s0', 'c0 s2', 'd0 s2'].map(steps);
    // At s: 0, 1, 0, 2, 2 with mean 1; after b: 1 and 0. b's first has 0 in the wide group and 0.5 in the narrow one.
    expect(hgpoAdvantages(nested, { gamma: 0, history: 1, alpha: 1, normalize: false })[1]?.[1]).toBeCloseTo(0.5, 12);
    expect(hgpoAdvantages(nested, { gamma: 0, history: 1, alpha: 1, normalize: false })[2]?.[1]).toBeCloseTo((2 * -1 + 3 * -0.5) / 5, 12);
  });
  it('refuses what is no step', () => {
    for (const [name, options] of [['gamma', { gamma: -0.1 }], ['gamma', { gamma: 1.1 }], ['history', { history: -1 }], ['alpha', { alpha: NaN }]] as const) expect(() => hgpoAdvantages(rollouts, options)).toThrow(name);
    expect(() => hgpoAdvantages([[{ state: 's', reward: NaN }]])).toThrow(/rollouts\[0\]\[0\]\.reward/);
  });
});
