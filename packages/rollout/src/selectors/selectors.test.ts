/** @file Token and row selectors at and around their thresholds. */
import { describe, expect, it } from 'vitest';
import { type RejectionOption, type RejectionRule, dro, entropyMask, groupNorm, maxVarianceSubset, objective, offPolicySequenceMask, reinforce, rejectionMask, tokenSum, topTokens } from '../index.ts';
import { readBatch } from '../batch/view.ts';
import type { Modifier } from '../weights/modifier.ts';
import { entropyThreshold } from './entropyMask.ts';

const kept = (modifier: Modifier, input: { logps: number[]; oldLogps?: number[]; behaviorLogps?: number[]; entropy?: number[]; advantages: number[]; mask?: number[]; shape: [number, number] }, surrogate = reinforce()): number[] => {
  const { logps } = input;
  const built = objective({ name: 'test', advantage: groupNorm(), surrogate, modifiers: [modifier], aggregation: tokenSum() });
  return Array.from(built.loss({ oldLogps: logps, mask: logps.map(() => 1), ...input }).dLogp, (g) => (g === 0 ? 0 : 1));
};

describe('the entropy mask', () => {
  it('keeps what reaches the quantile of active tokens', () => {
    const input = { logps: [-1, -1, -1, -1, -1, NaN], entropy: [1, 2, 3, 4, 5, NaN], advantages: [1, 1], mask: [1, 1, 1, 1, 1, 0], shape: [2, 3] as [number, number] };
    expect(kept(entropyMask(0.5) as Modifier, input)).toEqual([0, 0, 1, 1, 1, 0]);
    expect(kept(entropyMask(0.2) as Modifier, input)).toEqual([0, 0, 0, 0, 1, 0]);
    expect(kept(entropyMask(1) as Modifier, input)).toEqual([1, 1, 1, 1, 1, 0]);
    expect(kept(entropyMask(0) as Modifier, input)).toEqual([0, 0, 0, 0, 1, 0]);
    for (const share of [-0.1, 1.1, NaN]) expect(() => entropyMask(share)).toThrow(/topEntropyQuantile/);
  });
  it('keeps whatever there is of an empty batch', () => {
    expect(entropyThreshold(readBatch({ logps: [NaN], oldLogps: [NaN], entropy: [NaN], advantages: [1], mask: [0], shape: [1, 1] }), 0.5)).toBe(-Infinity);
  });
});

describe('the off-policy sequence mask', () => {
  const mask = offPolicySequenceMask(0.5);
  it('drops rows with a negative advantage beyond the threshold, and only those', () => {
    const input = { logps: [0, 0, NaN, 0, 0, 0], behaviorLogps: [0.25, 0.75, NaN, 9, 9, 9], mask: [1, 1, 0, 1, 1, 1], shape: [2, 3] as [number, number] };
    // Row 0 stands exactly on the threshold; its neighbour is far beyond.
    expect(kept(mask, { ...input, advantages: [-1, -1] })).toEqual([1, 1, 0, 0, 0, 0]);
    expect(kept(mask, { ...input, advantages: [-1, 1] })).toEqual([1, 1, 0, 1, 1, 1]);
    expect(kept(mask, { ...input, behaviorLogps: [0.25, 0.76, NaN, 0, 0, 0], advantages: [-1, -1] })).toEqual([0, 0, 0, 1, 1, 1]);
  });
  it('keeps a row whose advantage is 0', () => {
    expect(kept(mask, { logps: [-1], oldLogps: [-3], behaviorLogps: [9], advantages: [0], shape: [1, 1] }, dro(1))).toEqual([1]);
  });
  it('takes each token by its own advantage where there is one a token', () => {
    expect(kept(mask, { logps: [0, 0, 0], behaviorLogps: [9, 9, 9], advantages: [1, -1, 2], shape: [1, 3] })).toEqual([1, 0, 1]);
  });
  it('compares with the old log-probabilities without a sampler’s', () => {
    expect(kept(mask, { logps: [-2], oldLogps: [-1.6], advantages: [-1], shape: [1, 1] })).toEqual([1]);
    expect(kept(mask, { logps: [-2], oldLogps: [-1.4], advantages: [-1], shape: [1, 1] })).toEqual([0]);
    expect(() => offPolicySequenceMask(NaN)).toThrow(/threshold/);
  });
});

describe('rejection', () => {
  // d = old − behaviour: row 0 holds 1, −1 and a masked NaN; row 1 holds 0.5, 2 and −30; row 2 is masked.
  const input = { logps: [-1, -1, NaN, -1, -1, -1, NaN, NaN, NaN], oldLogps: [-2, -4, NaN, -2.5, -1, -31, NaN, NaN, NaN], behaviorLogps: [-3, -3, NaN, -3, -3, -1, NaN, NaN, NaN], advantages: [1, 1, 1], mask: [1, 1, 0, 1, 1, 1, 0, 0, 0], shape: [3, 3] as [number, number] };
  const view = readBatch(input);
  const run = (option: RejectionOption, upper: number, lower?: number, numerator: 'old' | 'current' = 'old') => {
    const metrics: Record<string, number> = {};
    const rule: RejectionRule = lower === undefined ? { option, upper } : { option, upper, lower };
    return { keep: Array.from(rejectionMask([rule], numerator)(view, metrics)).join(''), fraction: metrics['rollout_corr/rollout_rs_masked_fraction'] as number };
  };
  const d = [[1, -1], [0.5, 2, -20]];
  const k2 = (x: number): number => 0.5 * x * x;
  const k3 = (x: number): number => Math.exp(x) - 1 - x;
  const sum = (values: readonly number[]): number => values.reduce((total, x) => total + x, 0);
  /** What a threshold on one number a row must leave of the mask. */
  const rowsWithin = (statistic: (row: readonly number[]) => number, low: number, high: number): string => ['110', '111', '000'].map((row, i) => (i === 2 || (statistic(d[i] as number[]) >= low && statistic(d[i] as number[]) <= high) ? row : '000')).join('');

  it('of tokens', () => {
    // k1 = −d between log lower and log upper: −1 (d = 1) passes log 0.3, 1 (d = −1) passes log 3.
    expect(run('token_k1', 3, 0.3).keep).toBe('110100000');
    expect(run('token_k1', 2, 0.3).keep).toBe('100100000');
    expect(run('token_k1', 3, 0.5).keep).toBe('010100000');
    expect(run('token_k1', 3).keep).toBe('110100000');
    expect(run('token_k1', 2).keep).toBe('000100000');
    expect(run('token_k1', 4, 0.5).keep).toBe('010100000');
    expect(run('token_k2', 0.5).keep).toBe('110100000');
    expect(run('token_k2', 0.45).keep).toBe('000100000');
    expect(run('token_k2', 2).keep).toBe('110110000');
    expect(run('token_k3', k3(1)).keep).toBe('110100000');
    expect(run('token_k3', 0.6).keep).toBe('010100000');
    // d is cut at −20, so that k3 = e^−20 + 19.
    expect(run('token_k3', 19.1).keep).toBe('110111000');
    expect(run('token_k2', 200).keep).toBe('110111000');
    expect(run('token_k2', 199).keep).toBe('110110000');
  });
  it('of sequences, by sum, mean and largest', () => {
    const cases: [RejectionOption, (row: readonly number[]) => number, number, number][] = [
      ['seq_sum_k1', (row) => -sum(row), Math.log(0.5), Math.log(2)],
      ['seq_sum_k1', (row) => -sum(row), Math.log(1.5), Math.log(1e9)],
      ['seq_sum_k2', (row) => sum(row.map(k2)), -Infinity, 1],
      ['seq_sum_k2', (row) => sum(row.map(k2)), -Infinity, 0.9],
      ['seq_sum_k2', (row) => sum(row.map(k2)), -Infinity, 203],
      ['seq_sum_k3', (row) => sum(row.map(k3)), -Infinity, 1.05],
      ['seq_sum_k3', (row) => sum(row.map(k3)), -Infinity, 1.1],
      ['seq_sum_k3', (row) => sum(row.map(k3)), -Infinity, 24],
      ['seq_mean_k1', (row) => -sum(row) / row.length, Math.log(0.5), Math.log(2)],
      ['seq_mean_k1', (row) => -sum(row) / row.length, Math.log(0.5), Math.log(1000)],
      ['seq_mean_k2', (row) => sum(row.map(k2)) / row.length, -Infinity, 0.5],
      ['seq_mean_k2', (row) => sum(row.map(k2)) / row.length, -Infinity, 0.4],
      ['seq_mean_k2', (row) => sum(row.map(k2)) / row.length, -Infinity, 68],
      ['seq_mean_k3', (row) => sum(row.map(k3)) / row.length, -Infinity, 0.55],
      ['seq_mean_k3', (row) => sum(row.map(k3)) / row.length, -Infinity, 8],
      ['seq_max_k2', (row) => Math.max(...row.map(k2)), -Infinity, 0.5],
      ['seq_max_k2', (row) => Math.max(...row.map(k2)), -Infinity, 200],
      ['seq_max_k2', (row) => Math.max(...row.map(k2)), -Infinity, 0.4],
      ['seq_max_k3', (row) => Math.max(...row.map(k3)), -Infinity, 0.75],
      ['seq_max_k3', (row) => Math.max(...row.map(k3)), -Infinity, 0.7],
      ['seq_max_k3', (row) => Math.max(...row.map(k3)), -Infinity, 20],
    ];
    for (const [option, statistic, low, high] of cases) {
      const { keep, fraction } = option.endsWith('k1') ? run(option, Math.exp(high), Math.exp(low)) : run(option, high);
      const expected = rowsWithin(statistic, low, high);
      expect(keep, `${option} ${high}`).toBe(expected);
      expect(fraction).toBeCloseTo((5 - [...expected].filter((c) => c === '1').length) / 5, 8);
    }
  });
  it('keeps what stands on a bound', () => {
    const on = readBatch({ logps: [-1], oldLogps: [-1], behaviorLogps: [-1], advantages: [1], mask: [1], shape: [1, 1] });
    for (const [lower, upper] of [[1, 2], [0.5, 1]] as const) expect(Array.from(rejectionMask([{ option: 'seq_sum_k1', lower, upper }])(on, {}))).toEqual([1]);
  });
  it('joins its rules', () => {
    const keep = rejectionMask([{ option: 'token_k2', upper: 3 }, { option: 'seq_sum_k2', upper: 1 }])(view, {});
    expect(Array.from(keep).join('')).toBe('110000000');
  });
  it('compares the current log-probabilities in bypass mode', () => {
    // logp − behaviour: 2, 2; 2, 2, 0.
    expect(run('token_k2', 1, undefined, 'current').keep).toBe('000001000');
    expect(run('token_k1', 9, 0.1, 'current').keep).toBe('110111000');
  });
  it('refuses bounds that are none', () => {
    for (const rule of [{ option: 'token_k2', upper: 0 }, { option: 'token_k2', upper: -1 }, { option: 'token_k2', upper: NaN }, { option: 'token_k1', upper: 2, lower: 0 }, { option: 'token_k1', upper: 2, lower: -1 }] as const) {
      expect(() => rejectionMask([rule])).toThrow(/must be positive/);
    }
    expect(() => rejectionMask([{ option: 'token_k1', upper: 2, lower: 0.1 }])).not.toThrow();
  });
});

describe('D³S', () => {
  it('takes the highest of equal subsets, and both ends whatever the mean', () => {
    expect(Array.from(maxVarianceSubset([0, 0, 1], 2))).toEqual([1, 2]);
    expect(Array.from(maxVarianceSubset([101, 100, 108, 107, 109], 3))).toEqual([0, 1, 4]);
    expect(Array.from(maxVarianceSubset([101, 100, 108, 107, 109], 4))).toEqual([0, 1, 2, 4]);
    expect(Array.from(maxVarianceSubset([3, 1, 2], 1))).toEqual([0]);
    for (const keep of [0, 4]) expect(() => maxVarianceSubset([1, 2, 3], keep)).toThrow(/keep/);
  });
  it('takes active tokens by |A| H, the first of equal ones', () => {
    const input = { advantages: [1, -2], entropy: [1, 9, 2, 0.5], mask: [1, 0, 1, 1], shape: [2, 2] as [number, number] };
    expect(Array.from(topTokens(input, 0.3))).toEqual([0, 0, 1, 0]);
    expect(Array.from(topTokens(input, 0.6))).toEqual([1, 0, 1, 0]);
    expect(Array.from(topTokens(input, 1))).toEqual([1, 0, 1, 1]);
    expect(Array.from(topTokens(input, 0))).toEqual([0, 0, 0, 0]);
    for (const wrong of [{ advantages: [1] }, { entropy: [1] }, { mask: [1] }]) expect(() => topTokens({ ...input, ...wrong }, 0.5)).toThrow(/shape/);
    for (const share of [-1, 1.1]) expect(() => topTokens(input, share)).toThrow(/share/);
  });
});
