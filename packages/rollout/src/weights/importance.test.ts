import { describe, expect, it } from 'vitest';
import { type ImportanceOptions, RolloutError, geometricMeanWeights, groupNorm, importanceWeights, objective, reinforce, tokenSum } from '../index.ts';

const LN2 = Math.LN2;

/**
 * Weights as the gradient shows them: REINFORCE with advantage −1 has gradient 1 a token, so that dLogp is the weight.
 * Two rows of three positions: log-weights ln 2 and ln 3, the third masked; then ln(1/2) and ln(1/8), and one masked.
 */
const logWeights = [LN2, Math.log(3), NaN, -LN2, -3 * LN2, NaN];
const run = (options: ImportanceOptions, more: { origin?: number[]; logps?: number[] } = {}, gaps = logWeights, make = importanceWeights): number[] => {
  const { dLogp, loss } = objective({ name: 'test', advantage: groupNorm(), surrogate: reinforce(), modifiers: [make(options)], aggregation: tokenSum() }).loss({
    logps: more.logps ?? gaps.map(() => -1),
    oldLogps: gaps.map(() => -2),
    behaviorLogps: gaps.map((x) => -2 - x),
    advantages: [-1, -1],
    mask: gaps.map((x) => (Number.isNaN(x) ? 0 : 1)),
    shape: [2, gaps.length / 2],
    ...(more.origin === undefined ? {} : { origin: more.origin as (0 | 1)[] }),
  });
  // The loss of REINFORCE is −A · logp, so it must be the same weights against logp.
  if (more.logps === undefined) expect(loss).toBeCloseTo(-dLogp.reduce((a, b) => a + b, 0), 9);
  return Array.from(dLogp);
};
const near = (actual: number[], expected: number[], digits = 8) => actual.forEach((w, k) => expect(w).toBeCloseTo(expected[k] as number, digits));

describe('importance weights', () => {
  it('of tokens: plain, truncated, dropped', () => {
    near(run({}), [2, 3, 0, 0.5, 0.125, 0]);
    near(run({ max: 2.5 }), [2, 2.5, 0, 0.5, 0.125, 0]);
    near(run({ min: 0.3 }), [2, 3, 0, 0.5, 0.3, 0]);
    near(run({ min: 0.3, max: 2.5 }), [2, 2.5, 0, 0.5, 0.3, 0]);
    near(run({ mode: 'mask', max: 2.5 }), [2, 0, 0, 0.5, 0.125, 0]);
    near(run({ mode: 'mask', min: 0.3 }), [2, 3, 0, 0.5, 0, 0]);
    near(run({ mode: 'mask', min: 0.3, max: 2.5 }), [2, 0, 0, 0.5, 0, 0]);
    near(run({ min: 1, max: 1 }), [1, 1, 0, 1, 1, 0]);
  });
  it('keep a weight that stands exactly on a bound', () => {
    expect(run({ mode: 'mask', min: 1, max: 1 }, {}, [0, 0, 0, 0])).toEqual([1, 1, 1, 1]);
    expect(run({ sequenceFilter: true, min: 1, max: 1 }, {}, [0, 0, 0, 0])).toEqual([1, 1, 1, 1]);
  });
  it('of sequences: the product, bounded as one', () => {
    near(run({ level: 'sequence' }), [6, 6, 0, 1 / 16, 1 / 16, 0]);
    near(run({ level: 'sequence', min: 0.1, max: 5 }), [5, 5, 0, 0.1, 0.1, 0]);
    near(run({ level: 'sequence', mode: 'mask', max: 5 }), [0, 0, 0, 1 / 16, 1 / 16, 0]);
  });
  it('of tokens, dropped with their sequence (seq-mask-tis)', () => {
    // Geometric means √6 and 1/4.
    near(run({ sequenceFilter: true, max: 2.4 }), [0, 0, 0, 0.5, 0.125, 0]);
    near(run({ sequenceFilter: true, max: 2.5 }), [2, 3, 0, 0.5, 0.125, 0]);
    near(run({ sequenceFilter: true, min: 0.26 }), [2, 3, 0, 0, 0, 0]);
    near(run({ sequenceFilter: true, min: 0.24 }), [2, 3, 0, 0.5, 0.125, 0]);
  });
  it('clamp the log-weight on either side, and never overflow', () => {
    const gaps = [25, 19, -25, -19];
    const actual = run({ logClamp: 20 }, {}, gaps);
    [20, 19, -20, -19].forEach((x, k) => expect((actual[k] as number) / Math.exp(x)).toBeCloseTo(1, 12));
    const free = run({}, {}, gaps);
    gaps.forEach((x, k) => expect((free[k] as number) / Math.exp(x)).toBeCloseTo(1, 12));
    expect(run({}, { logps: [-1, -1, -1, -1] }, [800, 0, 0, 0])[0]).toBe(Math.exp(700));
    expect(run({ logClamp: 0 }, {}, gaps)).toEqual([1, 1, 1, 1]);
  });
  it('with the current log-probabilities on top (bypass)', () => {
    const logps = [-2, -2 + LN2, -9, -2, -2, -9];
    near(run({ numerator: 'current' }, { logps }), [2, 6, 0, 0.5, 0.125, 0]);
    near(run({ numerator: 'old' }, { logps }), [2, 3, 0, 0.5, 0.125, 0]);
  });
  it('divided by the batch’s mean, of tokens or of sequences', () => {
    const tokens = 5.625 / 4;
    near(run({ batchNormalize: true }), [2 / tokens, 3 / tokens, 0, 0.5 / tokens, 0.125 / tokens, 0]);
    const sequences = (6 + 1 / 16) / 2;
    near(run({ batchNormalize: true, level: 'sequence' }), [6 / sequences, 6 / sequences, 0, 1 / 16 / sequences, 1 / 16 / sequences, 0]);
    // Rows of two tokens and of one: a mean of tokens weighs them by length, a mean of sequences does not.
    const uneven = [LN2, 2 * LN2, -LN2, NaN];
    const perToken = (2 + 4 + 0.5) / 3;
    near(run({ batchNormalize: true }, {}, uneven), [2 / perToken, 4 / perToken, 0.5 / perToken, 0]);
    const perSequence = (8 + 0.5) / 2;
    near(run({ batchNormalize: true, level: 'sequence' }, {}, uneven), [8 / perSequence, 8 / perSequence, 0.5 / perSequence, 0]);
    // A masked row is in no mean; a mean of almost 0 divides nothing.
    near(run({ batchNormalize: true, level: 'sequence' }, {}, [LN2, LN2, NaN, NaN]), [1, 1, 0, 0]);
    expect(run({ batchNormalize: true, mode: 'mask', min: 10 })).toEqual([0, 0, 0, 0, 0, 0]);
    expect(run({ batchNormalize: true }, {}, [NaN, NaN, NaN, NaN])).toEqual([0, 0, 0, 0]);
  });
  it('divide by a mean over Σm + 1e-8, as verl does', () => {
    const verl = { batchNormalize: true, countEpsilon: 1e-8 };
    const [w] = run(verl, {}, [LN2, 0]) as [number];
    expect(Math.abs(w - 2 / (3 / (2 + 1e-8)))).toBeLessThan(1e-13);
    const [s] = run({ ...verl, level: 'sequence' }, {}, [LN2, 0]) as [number];
    expect(Math.abs(s - 2 / ((2 / (1 + 1e-8) + 1 / (1 + 1e-8)) / 2))).toBeLessThan(1e-13);
  });
  it('only of policy-aware rows', () => {
    near(run({ only: 'policy' }, { origin: [0, 1] }), [1, 1, 0, 0.5, 0.125, 0]);
    near(run({}, { origin: [0, 1] }), [2, 3, 0, 0.5, 0.125, 0]);
    expect(importanceWeights({ only: 'policy' }).needs).toEqual(['behaviorLogps', 'origin']);
    expect(importanceWeights().needs).toEqual(['behaviorLogps']);
    expect(() => run({ only: 'policy' })).toThrow(/origin/);
  });
  it('refuse bounds that cannot be meant', () => {
    expect(() => importanceWeights({ min: -1 })).toThrow(RolloutError);
    expect(() => importanceWeights({ max: -1 })).toThrow(/max/);
    expect(() => importanceWeights({ max: NaN })).toThrow(/max/);
    expect(() => importanceWeights({ min: 2, max: 1 })).toThrow(/must not be above max 1/);
    expect(() => importanceWeights({ min: 2 })).not.toThrow();
    expect(() => importanceWeights({ max: 0 })).not.toThrow();
    expect(() => importanceWeights({ min: 1, max: 1 })).not.toThrow();
    expect(() => importanceWeights({ min: 1, max: 2 })).not.toThrow();
  });
});

describe('geometric means of importance weights', () => {
  // verl adds 1e-10 to each weight and 1e-8 to their number.
  const mean = (...weights: number[]) => Math.exp(weights.reduce((sum, w) => sum + Math.log(w + 1e-10), 0) / (weights.length + 1e-8));
  const of = (options: ImportanceOptions, more = {}, gaps = logWeights): number[] => run(options, more, gaps, geometricMeanWeights);
  const fine = 12;
  it('of bounded token weights', () => {
    near(of({}), [mean(2, 3), mean(2, 3), 0, mean(0.5, 0.125), mean(0.5, 0.125), 0], fine);
    near(of({ min: 0.5, max: 2 }), [mean(2, 2), mean(2, 2), 0, mean(0.5, 0.5), mean(0.5, 0.5), 0], fine);
    near(of({ mode: 'mask', max: 2.5 }).slice(0, 2), [mean(2, 0), mean(2, 0)], fine);
  });
  it('of bounded sequence weights, which every token of a row has', () => {
    near(of({ level: 'sequence', max: 5 }), [mean(5, 5), mean(5, 5), 0, mean(1 / 16, 1 / 16), mean(1 / 16, 1 / 16), 0], fine);
  });
  it('of weights already divided by their mean', () => {
    const tokens = 5.625 / (4 + 1e-8);
    near(of({ batchNormalize: true, countEpsilon: 1e-8 }), [mean(2 / tokens, 3 / tokens), mean(2 / tokens, 3 / tokens), 0, mean(0.5 / tokens, 0.125 / tokens), mean(0.5 / tokens, 0.125 / tokens), 0], fine);
    // Rows of two tokens and of one, products 8 and 1/2.
    const sequences = (8 * (2 / (2 + 1e-8)) + 0.5 / (1 + 1e-8)) / 2;
    near(of({ batchNormalize: true, countEpsilon: 1e-8, level: 'sequence' }, {}, [LN2, 2 * LN2, -LN2, NaN]), [mean(8 / sequences, 8 / sequences), mean(8 / sequences, 8 / sequences), mean(0.5 / sequences), 0], fine);
  });
  it('only of policy-aware rows, and refuse what importance weights refuse', () => {
    near(of({ only: 'policy' }, { origin: [0, 1] }), [1, 1, 0, mean(0.5, 0.125), mean(0.5, 0.125), 0], fine);
    expect(geometricMeanWeights({ only: 'policy' }).needs).toEqual(['behaviorLogps', 'origin']);
    expect(() => geometricMeanWeights({ min: 2, max: 1 })).toThrow(/must not be above max 1/);
    expect([geometricMeanWeights().prepare, geometricMeanWeights({ batchNormalize: true }).prepare === undefined]).toEqual([undefined, false]);
  });
});
