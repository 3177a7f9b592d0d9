/** @file Algorithms that no library of the golden file has, against closed forms worked out by hand. */
import { describe, expect, it } from 'vitest';
import {
  aspoAdvantages, bapo, clip, constantLength, dispo, essLearningRateScale, groupNorm, hdpoChannels, hgpoAdvantages, klInReward, llds, maxVarianceSubset, mdpo, objective, otcGroupRewards, otcReward, fromVerl, poro, poroGrpo, reinforce, riskPoAdvantages,
  rolloutMetrics, sequenceMean, toolPoAdvantages, toolRlReward, tokenSum, topTokens, updateAdaptiveEntropy, xrpoAdvantages, grpo, entropyBonus, tokenMean, effectiveSampleSize, policyGap, reinforcePlusPlusTokens,
} from './index.ts';
import type { Surrogate } from './surrogates/surrogate.ts';
import { balancedBounds } from './surrogates/bapo.ts';
import { readBatch } from './batch/view.ts';

const sum = (surrogate: Surrogate) => objective({ name: 'sum', advantage: groupNorm(), surrogate, aggregation: tokenSum() });
const one = (surrogate: Surrogate, ratio: number, a: number) => {
  const { loss, dLogp, metrics } = sum(surrogate).loss({ logps: [Math.log(ratio) - 2], oldLogps: [-2], advantages: [a], mask: [1], shape: [1, 1] });
  return { loss, grad: dLogp[0] as number, metrics };
};

describe('DISPO clips its weight by the sign of the advantage', () => {
  it.each([
    [0.5, 1, 0.8],
    [20, 1, 11],
    [0.5, -1, 0.5],
    [200, -1, 101],
    [1.1, 2, 1.1],
  ])('r = %f, A = %f: weight %f', (r, a, weight) => {
    const { grad, loss } = one(dispo(), r, a);
    expect(grad).toBeCloseTo(-weight * a, 12);
    expect(loss).toBeCloseTo(-weight * a * (Math.log(r) - 2), 10);
  });
  it('refuses a negative bound', () => {
    expect(() => dispo({ positiveLow: -1 })).toThrow(/positiveLow/);
  });
});

describe('MDPO', () => {
  it('is −rA + k3(logp, old) / t', () => {
    const { loss, grad } = one(mdpo(0.5), 2, 1);
    expect(loss).toBeCloseTo(-2 + (0.5 + Math.log(2) - 1) / 0.5, 12);
    expect(grad).toBeCloseTo(-2 + (1 - 0.5) / 0.5, 12);
  });
});

describe('BAPO widens its bounds until positive advantages weigh enough', () => {
  const view = (advantages: number[], ratios: number[]) => readBatch({ logps: ratios.map(Math.log), oldLogps: ratios.map(() => 0), advantages, mask: ratios.map(() => 1), shape: [ratios.length, 1] });
  const ranges = { target: 1, low: [0.6, 0.8] as const, high: [1.2, 2] as const, step: 0.05 };
  it('leaves them where positives already do', () => {
    expect(balancedBounds(view([2, -1], [1, 1]), ranges)).toEqual({ low: 0.6, high: 1.2 });
    expect(balancedBounds(view([1], [1]), ranges)).toEqual({ low: 0.6, high: 1.2 });
  });
  it('raises the lower bound to its end and then the upper one just far enough', () => {
    // Positive: min(r = 1.6, high) · 1; negative: max(1.42, low) · 1. Needs high ≥ 1.42: 1.2 + 5 · 0.05 = 1.45.
    const bounds = balancedBounds(view([1, -1], [1.6, 1.42]), ranges);
    expect(bounds.low).toBeCloseTo(0.8, 12);
    expect(bounds.high).toBeCloseTo(1.45, 12);
  });
  it('stops at both ends', () => {
    const bounds = balancedBounds(view([0.001, -5], [1, 1]), ranges);
    expect([bounds.low, bounds.high]).toEqual([0.8, 2]);
  });
  it('then clips with them', () => {
    const built = objective({ name: 'bapo', advantage: groupNorm(), surrogate: bapo() as Surrogate, aggregation: tokenSum() });
    const { dLogp, loss } = built.loss({ logps: [Math.log(1.25), 0], oldLogps: [0, 0], advantages: [1, -0.5], mask: [1, 1], shape: [2, 1] });
    expect(dLogp[0]).toBe(0);
    expect(loss).toBeCloseTo(-1.2 + 0.5, 12);
  });
  it('refuses ranges the wrong way round', () => {
    expect(() => bapo({ low: [0.8, 0.6] })).toThrow(/low, high/);
  });
});

describe('LLDS', () => {
  const built = (gate: 'turn' | 'response') => objective({ name: 'llds', advantage: groupNorm(), surrogate: reinforce(), sequenceRegularisers: [llds({ lambda: 0.2, gate })], aggregation: tokenSum() });
  const input = { logps: [-2, -1, -3, -1], oldLogps: [-1, -2, -1, -1], advantages: [0, -1], mask: [1, 1, 1, 1], shape: [2, 2] as [number, number] };
  it('acts on good rollouts that became less likely as a whole', () => {
    // Row 0 (A = 0): Δ = 1, −1, total 0: not active. Row 1 has A < 0.
    expect(built('response').loss(input).loss).toBeCloseTo(-4, 12);
    const worse = { ...input, logps: [-2, -1.5, -3, -1] };
    // Δ = 1, −0.5, total 0.5 > 0: λ / (1 · 2) · 1 = 0.1.
    const result = built('response').loss(worse);
    expect(result.loss).toBeCloseTo(-4 + 0.1, 12);
    expect(result.dLogp[0]).toBeCloseTo(-0.1, 12);
    expect(result.dLogp[1]).toBe(0);
  });
  it('gates turn by turn', () => {
    const result = built('turn').loss({ ...input, turns: [[[0, 1], [1, 2]], []] });
    expect(result.dLogp[0]).toBeCloseTo(-0.1, 12);
    expect(result.loss).toBeCloseTo(-4 + 0.1, 12);
  });
  it('weighs tokens of the answer (LLDS-MA)', () => {
    const weighted = objective({ name: 'llds', advantage: groupNorm(), surrogate: reinforce(), sequenceRegularisers: [llds({ tokenWeight: (row, position) => (row === 0 && position === 0 ? 3 : 1) })], aggregation: tokenSum() });
    // Δ = 1, 0.5: λ / 2 · (3 · 1 + 0.5).
    const result = weighted.loss({ ...input, logps: [-2, -2.5, -3, -1] });
    expect(result.loss).toBeCloseTo(-4 + 0.35, 12);
    expect(result.dLogp[0]).toBeCloseTo(-0.3, 12);
    expect(result.dLogp[1]).toBeCloseTo(-0.1, 12);
    const wrong = objective({ ...weighted.parts, sequenceRegularisers: [llds({ tokenWeight: () => NaN })] });
    expect(() => wrong.loss({ ...input, logps: [-2, -2.5, -3, -1] })).toThrow(/tokenWeight/);
  });
  it('needs turns for that, inside the row', () => {
    expect(() => built('turn').loss(input)).toThrow(/turns/);
    expect(() => built('turn').loss({ ...input, turns: [[[0, 3]], []] })).toThrow(/turns\[0\]/);
    expect(() => built('turn').loss({ ...input, turns: [] })).toThrow(/turns\[0\]/);
  });
});

describe('two channels', () => {
  const input = { rewards: [1, 1, 0, 1], groupIds: [0, 0, 0, 0], correct: [1, 1, 0, 1], toolCalls: [0, 1, 0, 3] };
  it('HDPO compares efficiency among the correct only', () => {
    const [accuracy, tool] = hdpoChannels(input);
    expect(accuracy?.advantages[2]).toBeLessThan(0);
    // 1, 1/2, 1/4: mean 7/12, deviation sqrt(7/48).
    const sd = Math.sqrt(((1 - 7 / 12) ** 2 + (1 / 2 - 7 / 12) ** 2 + (1 / 4 - 7 / 12) ** 2) / 2);
    expect(tool?.advantages[0]).toBeCloseTo((5 / 12) / (sd + 1e-4), 10);
    expect(tool?.advantages[2]).toBe(0);
    expect([accuracy?.weight, tool?.weight]).toEqual([1, 0.15]);
    expect(Array.from(hdpoChannels({ ...input, correct: [1, 0, 0, 0] })[1]?.advantages ?? [])).toEqual([0, 0, 0, 0]);
    expect(() => hdpoChannels({ ...input, correct: [1] })).toThrow(/correct/);
  });
  it('the loss of two channels is the weighted sum of two losses, not the loss of the sum', () => {
    const base = { logps: [Math.log(1.5)], oldLogps: [0], mask: [1], shape: [1, 1] as [number, number] };
    const both = sum(clip()).loss({ ...base, advantages: [{ name: 'a', weight: 1, advantages: [1] }, { name: 'b', weight: 0.15, advantages: [-2] }] });
    expect(both.loss).toBeCloseTo(-1.2 + 0.15 * 3, 12); // −0.75, and 0.84 as one advantage
    expect(both.dLogp[0]).toBeCloseTo(0.15 * 3, 12);
    expect(sum(clip()).loss({ ...base, advantages: [1 - 2 * 0.15] }).loss).toBeCloseTo(-1.2 * 0.7, 12);
    expect(() => sum(clip()).loss({ ...base, advantages: [{ name: 'a', weight: NaN, advantages: [1] }] })).toThrow(/weight/);
  });
  it('regularisers count once', () => {
    const base = { logps: [-1], oldLogps: [-1], refLogps: [-2], mask: [1], shape: [1, 1] as [number, number] };
    const two = grpo({ beta: 1 }).loss({ ...base, advantages: [{ name: 'a', weight: 1, advantages: [1] }, { name: 'b', weight: 2, advantages: [1] }] });
    const kl = grpo({ beta: 1 }).loss({ ...base, advantages: [0] }).loss;
    expect(two.loss).toBeCloseTo(-3 + kl, 12);
  });
  it('ToolPO gives tool tokens a second advantage', () => {
    const a = toolPoAdvantages({ rewards: [1, 0], groupIds: [0, 0], actionRewards: [4, 2], actionMask: [0, 1, 1, 0], shape: [2, 2] });
    expect(Array.from(a)).toEqual([0.5, 1.5, -1.5, -0.5]);
    expect(() => toolPoAdvantages({ rewards: [1, 0], groupIds: [0, 0], actionRewards: [4, 2], actionMask: [0, 1], shape: [1, 2] })).toThrow(/shape/);
  });
});

describe('advantage bonuses', () => {
  it('ASPO rewards early tool calls, within a share of A', () => {
    const a = aspoAdvantages({ advantages: [1, 1, -1], groupIds: [0, 0, 0], eligible: [1, 1, 0], firstToolPosition: [10, 30, 5], lengths: [100, 100, 100] });
    expect(a[0]).toBeCloseTo(1 + (-2 * (10 - 20)) / 100, 12);
    expect(a[1]).toBeCloseTo(1 - 0.2, 12);
    expect(a[2]).toBe(-1);
    const capped = aspoAdvantages({ advantages: [0.1, 0.1], groupIds: [0, 0], eligible: [1, 1], firstToolPosition: [0, 90], lengths: [100, 100] });
    expect(Array.from(capped)).toEqual([expect.closeTo(0.17, 12), expect.closeTo(0.03, 12)]);
  });
  it('XRPO sharpens unlikely correct answers only', () => {
    const a = xrpoAdvantages({ advantages: [1, 1, -1], groupIds: [0, 0, 0], meanLogps: [-1.1, -1, -0.9], correct: [1, 1, 1] });
    expect(a[0]).toBeCloseTo(1 + 2.5 * (1 - Math.exp(-0.1)), 12);
    expect(a[1]).toBe(1);
    expect(a[2]).toBe(-1);
    const capped = xrpoAdvantages({ advantages: [1, 0.5], groupIds: [0, 0], meanLogps: [-9, -1], correct: [1, 0] });
    expect(Array.from(capped)).toEqual([1.5, 0.5]);
  });
  it('RiskPO only pushes away, and tracks its quantiles', () => {
    const { advantages, state } = riskPoAdvantages([0, 5, 10], { low: 2, high: 8 }, { normalize: false });
    expect(advantages[0]).toBeCloseTo((1.5 * (-2 / 0.2) + (2 - 8) / 0.7) / 2.5, 12);
    expect(advantages[1]).toBeCloseTo((3 + 2 - 8) / 0.7 / 2.5, 12);
    expect(advantages[2]).toBeCloseTo(0, 12);
    expect(state.low).toBeCloseTo(2 + 0.1 * (0.2 - 1 / 3), 12);
    expect(state.high).toBeCloseTo(8 + 0.1 * (0.9 - 2 / 3), 12);
    const own = riskPoAdvantages([0, 1, 2, 3, 4], undefined).advantages;
    expect(own.every((a) => a <= 0)).toBe(true);
    const mean = own.reduce((s, a) => s + a, 0) / 5;
    expect(mean).toBeLessThan(0);
    // Bundles that are all as good say nothing, wherever the tracked quantiles are.
    expect(Array.from(riskPoAdvantages([0, 0, 0], { low: 0.5, high: 3 }).advantages)).toEqual([0, 0, 0]);
    expect(() => riskPoAdvantages([], undefined)).toThrow(/scores/);
    expect(() => riskPoAdvantages([NaN], undefined)).toThrow(/scores\[0\]/);
  });
  it('HGPO compares steps that share a history', () => {
    const steps = (...pairs: [string, number][]) => pairs.map(([state, reward]) => ({ state, reward }));
    const [a, b] = hgpoAdvantages([steps(['s', 1], ['t', 0]), steps(['s', 0], ['t', 1])], { gamma: 0.5, history: 0, normalize: false });
    // Returns at s: 1 and 0.5; at t: 0 and 1.
    expect(Array.from(a ?? [])).toEqual([0.25, -0.5]);
    expect(Array.from(b ?? [])).toEqual([-0.25, 0.5]);
    const [c] = hgpoAdvantages([steps(['s', 1], ['t', 0]), steps(['u', 0], ['t', 1])], { gamma: 0, history: 1, normalize: false });
    expect(Array.from(c ?? [])).toEqual([0, -0.5]);
    const [scaled] = hgpoAdvantages([steps(['s', 2]), steps(['s', 0])], { history: 0 });
    expect(scaled?.[0]).toBeCloseTo(1 / (1 + 1e-6), 12);
    // k = 1 (weight 2) over four steps at t, k = 2 (weight 3) over the two that came from s.
    const [d] = hgpoAdvantages([steps(['s', 0], ['t', 4]), steps(['s', 0], ['t', 0]), steps(['x', 0], ['t', 0]), steps(['y', 0], ['t', 0])], { gamma: 0, history: 1, normalize: false });
    expect(d?.[1]).toBeCloseTo((2 * 3 + 3 * 2) / 5, 12);
    expect(() => hgpoAdvantages([])).toThrow(/rollouts/);
  });
  it('REINFORCE++ with a discount', () => {
    const input = { rewards: [1, 0], groupIds: [0, 1], mask: [1, 1, 1, 0], shape: [2, 2] as [number, number] };
    const a = reinforcePlusPlusTokens(input, { gamma: 0.5 });
    const values = [0.5, 1, 0];
    const mean = 0.5;
    const sd = Math.sqrt(values.reduce((s, x) => s + (x - mean) ** 2, 0) / 2 + 1e-8);
    expect(a[1]).toBeCloseTo(0.5 / sd, 10);
    expect(a[3]).toBe(0);
    expect(Array.from(reinforcePlusPlusTokens({ ...input, rewards: [1, 1] }))).toEqual([0, 0, 0, 0]);
    expect(() => reinforcePlusPlusTokens({ ...input, shape: [1, 4] })).toThrow(/shape/);
  });
});

describe('selection', () => {
  it('D³S takes the ends', () => {
    expect(Array.from(maxVarianceSubset([0, 5, -5, 0.1, 4], 2))).toEqual([1, 2]);
    expect(Array.from(maxVarianceSubset([0, 5, -5, 0.1, 4], 3))).toEqual([1, 2, 4]);
    expect(Array.from(maxVarianceSubset([1, 2, 3], 3))).toEqual([0, 1, 2]);
    expect(() => maxVarianceSubset([1, 2], 3)).toThrow(/keep/);
    expect(() => maxVarianceSubset([1, 2], 1.5)).toThrow(/keep/);
  });
  it('agrees with trying every subset', () => {
    const a = [0.3, -1, 2, 0, 1.5, -0.2];
    const variance = (rows: number[]): number => {
      const mean = rows.reduce((s, i) => s + (a[i] as number), 0) / rows.length;
      return rows.reduce((s, i) => s + ((a[i] as number) - mean) ** 2, 0) / rows.length;
    };
    for (let keep = 1; keep <= 6; keep++) {
      let best = -1;
      for (let bits = 0; bits < 64; bits++) {
        const rows = [0, 1, 2, 3, 4, 5].filter((i) => (bits >> i) & 1);
        if (rows.length === keep) best = Math.max(best, variance(rows));
      }
      expect(variance(Array.from(maxVarianceSubset(a, keep)))).toBeCloseTo(best, 12);
    }
  });
  it('keeps tokens by |A| H', () => {
    const keep = topTokens({ advantages: [1, -2], entropy: [1, 3, 2, 0.1], mask: [1, 1, 1, 0], shape: [2, 2] }, 0.5);
    expect(Array.from(keep)).toEqual([0, 1, 1, 0]);
    expect(() => topTokens({ advantages: [1], entropy: [1], mask: [1], shape: [2, 1] }, 0.5)).toThrow(/shape/);
  });
});

describe('rewards', () => {
  it('OTC peaks at the least number of calls', () => {
    expect([0, 1, 2, 3, 4, 5].map((m) => Number(otcReward(m, 2).toFixed(3)))).toEqual([0, 0.866, 1, 0.951, 0.866, 0.782]);
    expect(otcReward(0, 0)).toBe(1);
    expect(otcReward(1, 0)).toBeCloseTo(Math.cos(Math.PI / 3), 12);
    expect(Array.from(otcGroupRewards([3, 2, 1], [1, 1, 0]))).toEqual([expect.closeTo(0.951, 3), 1, 0]);
    expect(() => otcGroupRewards([1], [])).toThrow(/correct/);
  });
  it('ToolRL is 3 for the right call and −3 for none', () => {
    const call = { name: 'f', parameters: { a: 1, b: 'x' } };
    expect(toolRlReward([call], [call])).toBe(3);
    expect(toolRlReward([], [call])).toBe(-3);
    expect(toolRlReward(null, [call])).toBe(-3);
    expect(toolRlReward([], [])).toBe(0);
    expect(toolRlReward([call], [])).toBe(0);
    // Names 1, parameter names 1/2, one equal value of two: s = 2.5 of 1 + 1 + 2.
    expect(toolRlReward([{ name: 'f', parameters: { a: 1 } }], [call])).toBeCloseTo((6 * 2.5) / 4 - 3, 12);
    expect(toolRlReward([{ name: 'g', parameters: {} }, call], [call])).toBeCloseTo((6 * 3.5) / 4 - 3, 12);
  });
  it('KL in the reward is k1 summed over active tokens', () => {
    const r = klInReward({ rewards: [1, 2], oldLogps: [-1, -2, -1, -1], refLogps: [-2, -2, NaN, -3], mask: [1, 1, 0, 1], shape: [2, 2] }, 0.5);
    expect(Array.from(r)).toEqual([0.5, 1]);
    expect(() => klInReward({ rewards: [1], oldLogps: [], refLogps: [], mask: [], shape: [2, 2] }, 0.5)).toThrow(/shape/);
  });
});

describe('state and update control', () => {
  it('ESS shrinks the step', () => {
    expect(essLearningRateScale([0, 0, 0])).toBe(1);
    expect(essLearningRateScale([])).toBe(1);
    // One of two weights dominates: ρ → 1/2.
    expect(essLearningRateScale([0, -100])).toBeCloseTo(Math.SQRT1_2, 12);
    expect(essLearningRateScale([0, -100], { scaling: 'linear' })).toBeCloseTo(0.5, 12);
    expect(essLearningRateScale([0, -100], { base: 0.25 })).toBe(1);
    expect(() => essLearningRateScale([0, NaN])).toThrow(/logWeights\[1\]/);
    expect(effectiveSampleSize([Math.log(3), 0])).toBeCloseTo(16 / 20, 12);
  });
  it('the entropy coefficient follows its target', () => {
    const up = updateAdaptiveEntropy({ coefficient: 0.01, lastEntropy: 1 }, 0.1);
    expect(up).toEqual({ coefficient: 0.015, lastEntropy: 0.1 });
    expect(updateAdaptiveEntropy(up, 0.3).coefficient).toBeCloseTo(0.01, 12);
    expect(updateAdaptiveEntropy({ coefficient: 0, lastEntropy: 1 }, 0.3).coefficient).toBe(0);
    expect(updateAdaptiveEntropy({ coefficient: 1, lastEntropy: 1 }, 0.1).coefficient).toBe(1);
  });
  it('an entropy bonus has its gradient in dEntropy', () => {
    const base = { name: 'h', advantage: groupNorm(), surrogate: reinforce(), aggregation: tokenMean() };
    const input = { logps: [0, 0, 0], oldLogps: [0, 0, 0], entropy: [1, 3, NaN], advantages: [0], mask: [1, 1, 0], shape: [1, 3] as [number, number] };
    const mean = objective({ ...base, entropyBonus: entropyBonus(0.1) }).loss(input);
    expect(mean.loss).toBeCloseTo(-0.2, 12);
    expect(Array.from(mean.dEntropy ?? [])).toEqual([-0.05, -0.05, 0]);
    const summed = objective({ ...base, entropyBonus: entropyBonus(0.1, { aggregation: sequenceMean({ tokens: 'sum' }) }) }).loss(input);
    expect(summed.loss).toBeCloseTo(-0.4, 12);
    const top = objective({ ...base, entropyBonus: entropyBonus(0.1, { topEntropyQuantile: 0.5 }) }).loss(input);
    expect(top.loss).toBeCloseTo(-0.3, 12);
    expect(() => objective({ ...base, entropyBonus: entropyBonus(0.1) }).loss({ ...input, entropy: undefined })).toThrow(/entropy/);
  });
});

describe('an empty batch', () => {
  it.each([tokenMean(), tokenMean({ local: true }), sequenceMean(), sequenceMean({ over: 'non-empty' }), constantLength(), constantLength({ over: 'non-empty', maxCompletionLength: 8 })])('has a loss of 0 under $name', (aggregation) => {
    expect(objective({ name: 'empty', advantage: groupNorm(), surrogate: reinforce(), aggregation }).loss({ logps: [NaN, NaN], oldLogps: [NaN, NaN], advantages: [1], mask: [0, 0], shape: [1, 2] })).toMatchObject({ loss: 0, dLogp: Float64Array.of(0, 0) });
  });
});

describe("verl's off-policy metrics", () => {
  it('compare sampler and trainer', () => {
    const input = { logps: [-1, -1, -1, -1], oldLogps: [-1, -2, -3, NaN], behaviorLogps: [-1.5, -1.5, -1, NaN], advantages: [1, 1], mask: [1, 1, 1, 0], shape: [2, 2] as [number, number] };
    const expected = {
      kl: (-0.5 + 0.5 + 2) / 3,
      k3_kl: (Math.exp(0.5) - 1.5 + Math.exp(-0.5) - 0.5 + Math.exp(-2) + 1) / 3,
      training_ppl: (Math.exp(1.5) + Math.exp(3)) / 2,
      training_log_ppl: 2.25,
      rollout_ppl: (Math.exp(1.5) + Math.exp(1)) / 2,
      rollout_log_ppl: 1.25,
      log_ppl_diff: 1,
      log_ppl_abs_diff: 1,
      log_ppl_diff_max: 2,
      log_ppl_diff_min: 0,
      ppl_ratio: (1 + Math.exp(2)) / 2,
      chi2_token: (Math.exp(1) + Math.exp(-1) + Math.exp(-4)) / 3 - 1,
      chi2_seq: (1 + Math.exp(-4)) / 2 - 1,
    };
    for (const config of [{ rollout_is: 'token' }, { rollout_rs: 'token_k2', rollout_rs_threshold: 0.1 }]) {
      const { metrics } = fromVerl(config).loss(input);
      for (const [name, value] of Object.entries(expected)) expect(metrics[`rollout_corr/${name}`], name).toBeCloseTo(value, 6);
    }
  });
});

describe('the policy-free baseline', () => {
  const input = { rewards: [0, 0, 3, 1], groupIds: [0, 0, 0, 0], origin: ['free', 'free', 'policy', 'policy'] as const };
  it('counts a deviation of 0 as 1, under every scaling', () => {
    expect(Array.from(poro(grpo({ scaleRewards: 'none' }), { baseline: 'free-only' }).advantages(input))).toEqual([0, 0, 3, 1]);
    expect(poro(grpo(), { baseline: 'free-only' }).advantages(input)[2]).toBeCloseTo(3 / 1.0001, 12);
    expect(poro(grpo({ scaleRewards: 'batch' }), { baseline: 'free-only' }).advantages(input)[2]).toBeCloseTo(3 / (Math.SQRT2 + 1e-4), 12);
    expect(Array.from(poro(grpo({ scaleRewards: 'batch' }), { baseline: 'free-only' }).advantages({ ...input, rewards: [2, 2, 2, 2] }))).toEqual([0, 0, 0, 0]);
  });
  it('can leave out what speaks against the policy', () => {
    const a = poro(grpo(), { dropNegativePolicyRows: true }).advantages({ ...input, rewards: [1, 0, 0, 1] });
    expect(a[1]).toBeLessThan(0);
    expect(a[2]).toBe(0);
    expect(a[3]).toBeGreaterThan(0);
  });
});

describe('diagnostics of PolicyRollout', () => {
  it('count rescued groups and the gain of the policy', () => {
    const m = rolloutMetrics({
      rewards: { score: [0, 0, 1, 1, 1, 1, 0, 1] },
      groupIds: ['a', 'a', 'a', 'a', 'b', 'b', 'b', 'b'],
      origin: ['free', 'free', 'policy', 'policy', 'free', 'free', 'policy', 'policy'],
      advantages: [-1, -1, 1, 1, 0.5, 0.5, -1.5, 0.5],
    });
    expect(m).toMatchObject({
      reward: 0.625,
      'rewards/score/mean': 0.625,
      frac_reward_zero_std: 0,
      'frac_reward_zero_std/free': 1,
      'frac_reward_zero_std/policy': 0.5,
      frac_groups_rescued: 1,
      'reward/free': 0.5,
      'reward/policy': 0.75,
      'rollout/policy_gain': 0.25,
      'advantage/free': -0.25,
      'advantage/policy': 0.25,
    });
    expect(m['reward_std']).toBeCloseTo(Math.sqrt((5 * 0.375 ** 2 + 3 * 0.625 ** 2) / 7), 12);
    expect(() => rolloutMetrics({ rewards: [1], groupIds: [0], advantages: [] })).toThrow(/advantages/);
  });
  it('measure the gap between sampler and model on policy-aware rows', () => {
    const input = { logps: [-1, -1, -1, -1], oldLogps: [-1, -1, -2, -1], refLogps: [-1, -1, -1, -1], behaviorLogps: [-9, -9, -1, -0.5], advantages: [1, 1], mask: [1, 1, 1, 1], shape: [2, 2] as [number, number], origin: ['free', 'policy'] as const };
    const { metrics } = poroGrpo().loss(input);
    expect(metrics['policy_gap/kl']).toBeCloseTo(0.75, 12);
    expect(metrics['policy_gap/log_ppl_diff']).toBeCloseTo(0.75, 12);
    expect(metrics['policy_gap/k3_kl']).toBeCloseTo((Math.exp(-1) + 1 - 1 + Math.exp(-0.5) + 0.5 - 1) / 2, 12);
    expect(metrics['policy_gap/chi2']).toBeCloseTo((Math.exp(-2) + Math.exp(-1)) / 2 - 1, 12);
    expect(metrics['policy_gap/ess']).toBe(1);
    expect(metrics['clip_ratio/region_mean/policy']).toBe(0.5);
    expect(metrics['clip_ratio/region_mean/free']).toBe(0);
    expect(metrics['kl/free']).toBe(0);
    expect(policyGap(readBatch({ ...input, origin: undefined }))).toEqual({});
    expect(policyGap(readBatch({ ...input, behaviorLogps: undefined }))).toEqual({});
    expect(policyGap(readBatch({ ...input, origin: ['free', 'free'] }))).toEqual({});
  });
});
