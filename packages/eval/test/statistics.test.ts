import { clevrPolicy } from '@trimpi/datasets';
import { describe, expect, it } from 'vitest';
import { compactReferral, holm, mcnemar, meanInterval, pairedTest, sliceAccuracy, studentQuantile, unseenCells, verdict } from '../src/index.ts';

describe('over seeds', () => {
  it("Student's quantiles are those of the tables (Fisher and Yates)", () => {
    for (const [df, t] of [[1, 12.7062], [2, 4.3027], [4, 2.7764], [9, 2.2622], [30, 2.0423], [120, 1.9799]] as const) expect(studentQuantile(0.975, df)).toBeCloseTo(t, 4);
    // df 1 is Cauchy's distribution, df 2 has a closed form.
    expect(studentQuantile(0.9, 1)).toBeCloseTo(Math.tan(Math.PI * 0.4), 10);
    expect(studentQuantile(0.9, 2)).toBeCloseTo(0.8 / Math.sqrt(2 * 0.9 * 0.1), 10);
    expect(() => studentQuantile(0.4, 3)).toThrow(/p: is 0.4/);
  });

  it('mean, deviation and interval', () => {
    const m = meanInterval([0.6, 0.7, 0.8]);
    expect(m.mean).toBeCloseTo(0.7, 12);
    expect(m.sd).toBeCloseTo(0.1, 12);
    expect(m.high - m.mean).toBeCloseTo((4.30265 * 0.1) / Math.sqrt(3), 5);
    expect(meanInterval([0.5])).toMatchObject({ mean: 0.5, low: -Infinity, high: Infinity });
    expect(() => meanInterval([])).toThrow(/empty/);
  });
});

describe('pairs', () => {
  const seed = (right: string) => [...right].map((c) => c === '1');
  it('pools the pairs of all seeds and counts the seeds', () => {
    const a = [seed('110000'), seed('100000')];
    const b = [seed('111110'), seed('100000')];
    const test = pairedTest(a, b);
    expect(test).toMatchObject({ a: 3 / 12, b: 6 / 12, n: 12, seeds: { better: 1, worse: 0, equal: 1 } });
    expect(test.p).toBe(mcnemar(a.flat(), b.flat()));
    expect(test.p).toBeCloseTo(0.25, 12);
    // Differences of 1/2 and 0: t = 1 with one degree of freedom, whose tails are Cauchy's quarters.
    expect(test.pSeeds).toBeCloseTo(0.5, 10);
    expect(pairedTest([a[0]!], [b[0]!]).pSeeds).toBeNull();
    expect(pairedTest(a, a).pSeeds).toBe(1);
    // A quarter more in both seeds: no spread, so no test; thirds are equal but for their rounding.
    expect(pairedTest([seed('1100'), seed('1000')], [seed('1110'), seed('1100')]).pSeeds).toBeNull();
    expect(pairedTest([seed('100'), seed('100'), seed('000000')], [seed('110'), seed('110'), seed('110000')]).pSeeds).toBeNull();
    // Differences .2, .3, .1, .2: t = sqrt(24), and the distribution with three degrees of freedom in closed form.
    const tens = (right: readonly number[]) => right.map((n) => Array.from({ length: 10 }, (_, i) => i < n));
    expect(pairedTest(tens([5, 6, 7, 4]), tens([7, 9, 8, 6])).pSeeds).toBeCloseTo(0.016276603459428607, 9);
    expect(() => pairedTest(a, [seed('1')])).toThrow(/seeds/);
    expect(() => pairedTest([seed('1')], [seed('11')])).toThrow(/outcomes/);
    expect(() => pairedTest([seed('1'), []], [seed('0'), []])).toThrow(/a\[1\]: holds no outcome/);
  });

  it('a claim is reproduced, contradicted, or left open', () => {
    const rest = { n: 100, pSeeds: null, seeds: { better: 2, worse: 0, equal: 0 } };
    expect(verdict({ a: 0.2, b: 0.6, p: 0.001, ...rest })).toBe('reproduced');
    expect(verdict({ a: 0.6, b: 0.2, p: 0.001, ...rest, seeds: { better: 0, worse: 2, equal: 0 } })).toBe('not reproduced');
    expect(verdict({ a: 0.2, b: 0.6, p: 0.2, ...rest })).toBe('not significant');
    expect(verdict({ a: 0.2, b: 0.6, p: 0.02, ...rest }, { level: 0.01 })).toBe('not significant');
    expect(verdict({ a: 0.2, b: 0.6, p: 0.02, ...rest }, { p: 0.06 })).toBe('not significant');
    // One seed is two models, not two ways of training.
    expect(verdict({ a: 0.2, b: 0.6, p: 1e-9, ...rest, seeds: { better: 1, worse: 0, equal: 0 } })).toBe('not significant');
  });

  it("p-values that are read together, by Holm's steps", () => {
    // Sorted .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06, .04, the last not below the one before it.
    const adjusted = holm([0.01, 0.04, 0.03, 0.005]);
    [0.03, 0.06, 0.06, 0.02].forEach((p, i) => expect(adjusted[i]).toBeCloseTo(p, 12));
    expect(holm([0.4, 0.6])).toEqual([0.8, 0.8]);
    expect(holm([0.7])).toEqual([0.7]);
    expect(holm([])).toEqual([]);
    expect(() => holm([0.1, NaN])).toThrow(/values\[1\]: is NaN/);
  });

  it('and left open where the seeds are divided, unless their own test is below the level', () => {
    const divided = { a: 0.2, b: 0.3, p: 0.03, n: 600, seeds: { better: 2, worse: 1, equal: 0 } };
    expect(verdict({ ...divided, pSeeds: 0.4 })).toBe('not significant');
    expect(verdict({ ...divided, pSeeds: 0.04 })).toBe('reproduced');
    expect(verdict({ ...divided, pSeeds: 0.4, seeds: { better: 2, worse: 0, equal: 1 } })).toBe('not significant');
    expect(verdict({ ...divided, pSeeds: 0.4, seeds: { better: 3, worse: 0, equal: 0 } })).toBe('reproduced');
    expect(verdict({ ...divided, b: 0.1, pSeeds: 0.4, seeds: { better: 0, worse: 3, equal: 0 } })).toBe('not reproduced');
    expect(verdict({ ...divided, b: 0.1, pSeeds: 0.4, seeds: { better: 1, worse: 2, equal: 0 } })).toBe('not significant');
  });
});

describe('slices', () => {
  it('cells that training does not show', () => {
    const train = [{ policyId: 'a', leafId: '1.1' }, { policyId: 'b', leafId: '1.2' }];
    const inside = unseenCells(train, [{ policyId: 'a', leafId: '1.1' }, { policyId: 'a', leafId: '1.2' }, { policyId: 'b', leafId: '1.1' }]);
    expect(inside).toEqual([false, true, true]);
    expect(sliceAccuracy([true, true, false], inside)).toMatchObject({ accuracy: 0.5, n: 2 });
    expect(sliceAccuracy([true], [false])).toBeNull();
    expect(() => sliceAccuracy([true, true], [true])).toThrow(/inside: has 1 entries for 2/);
    expect(() => sliceAccuracy([true], [true, false])).toThrow(/inside/);
    // A policy 'a b' with a leaf 'c' is none 'a' with 'b c'.
    expect(unseenCells([{ policyId: 'a b', leafId: 'c' }], [{ policyId: 'a', leafId: 'b c' }, { policyId: 'a b', leafId: 'c' }])).toEqual([true, false]);
  });
});

describe('referral', () => {
  it('right reasoning scores 10, statements about another policy less', () => {
    const data = clevrPolicy({ n: 3, policies: 2, style: 'compact', seed: 'referral', train: 40, test: 0, reasoned: 40, width: 112, height: 84 });
    for (let i = 0; i < 40; i++) {
      const { response, path } = data.example('train', i);
      const [own, other] = [data.policies[i % 2]!, data.policies[1 - (i % 2)]!];
      expect(compactReferral(response, own.tree)).toEqual({ score: 10, correct: path.length + 1, cited: path.length + 1 });
      expect(compactReferral(response, other.tree).correct).toBeLessThanOrEqual(path.length + 1);
    }
    const wrong = compactReferral(data.example('train', 0).response, data.policies[1]!.tree);
    expect(wrong.score).toBeLessThan(10);
    expect(compactReferral('nothing', data.policies[0]!.tree)).toEqual({ score: 0, correct: 0, cited: 0 });
    expect(compactReferral('<think> 9.9 ask', data.policies[0]!.tree).score).toBe(0);
  });
});
