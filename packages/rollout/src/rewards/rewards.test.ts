/** @file Rewards at the corners of their formulas. */
import { describe, expect, it } from 'vitest';
import { type ToolCall, klInReward, otcGroupRewards, otcReward, overlongPenalty, toolRlReward, updateAdaptiveKl, updateAdaptiveEntropy } from '../index.ts';

describe('overlong penalty', () => {
  it('falls over the cache and then stops, or not', () => {
    const at = (length: number, options = {}): number => overlongPenalty(length, { maxLength: 100, cache: 20, ...options });
    expect([0, 79, 80, 85, 99, 100, 101, 140].map((length) => at(length) + 0)).toEqual([0, 0, 0, -0.25, -0.95, -1, -1, -1]);
    expect([80, 85, 100, 140].map((length) => at(length, { unbounded: true }) + 0)).toEqual([0, -0.25, -1, -3]);
    expect([85, 140].map((length) => at(length, { factor: 2 }))).toEqual([-0.5, -2]);
    expect(at(140, { factor: 2, unbounded: true })).toBe(-6);
    // Without a cache there is only inside and outside.
    expect([100, 101].map((length) => at(length, { cache: 0 }) + 0)).toEqual([0, -1]);
    expect(at(103, { cache: 0, unbounded: true })).toBe(-3);
    expect(at(50, { cache: 100 })).toBe(-0.5);
    for (const [name, options] of [['maxLength', { maxLength: 0 }], ['cache', { cache: -1 }], ['cache', { cache: 101 }], ['factor', { factor: -1 }]] as const) expect(() => at(1, options)).toThrow(name);
    expect(() => at(-1)).toThrow(/length/);
  });
});

describe('OTC', () => {
  it('is 1 at the least number of calls, by its two curves elsewhere', () => {
    expect(otcReward(0, 0)).toBe(1);
    for (const c of [1, 3]) for (const m of [1, 2, 5]) expect(otcReward(m, 0, c)).toBeCloseTo(Math.cos((m * Math.PI) / (2 * m + c)), 12);
    for (const n of [1, 3]) for (const m of [0, 1, 3, 7]) expect(otcReward(m, n)).toBeCloseTo(Math.sin(((2 * n * m) / (m + n)) * (Math.PI / (2 * n))), 12);
    for (const [name, call] of [['calls', () => otcReward(-1, 0)], ['least', () => otcReward(1, -1)], ['c', () => otcReward(1, 0, 0)]] as const) expect(call).toThrow(name);
  });
  it('takes the least of the correct ones', () => {
    expect(Array.from(otcGroupRewards([1, 4, 3], [0, 1, 1]))).toEqual([0, otcReward(4, 3), 1]);
    expect(Array.from(otcGroupRewards([0, 2], [1, 1], 3))).toEqual([1, otcReward(2, 0, 3)]);
    expect(Array.from(otcGroupRewards([1, 2], [0, 0]))).toEqual([0, 0]);
    expect(Array.from(otcGroupRewards([], []))).toEqual([]);
    expect(() => otcGroupRewards([1, 2], [1])).toThrow(/correct/);
  });
});

describe('ToolRL', () => {
  const call = (name: string, parameters: Record<string, unknown> = {}): ToolCall => ({ name, parameters });
  it('scores names, parameter names and values', () => {
    const expected = [call('f', { a: 1, b: [2] })];
    // Of 1 + 1 + 2 points.
    const of = (score: number): number => (6 * score) / 4 - 3;
    expect(toolRlReward([call('f', { a: 1, b: [2] })], expected)).toBe(3);
    expect(toolRlReward([call('f', { a: 1, b: [3] })], expected)).toBeCloseTo(of(3), 12);
    expect(toolRlReward([call('f', { b: [2], c: 0 })], expected)).toBeCloseTo(of(1 + 1 / 3 + 1), 12);
    expect(toolRlReward([call('f')], expected)).toBeCloseTo(of(1), 12);
    expect(toolRlReward([call('g', { a: 1, b: [2] })], expected)).toBeCloseTo(of(0), 12);
    expect(toolRlReward([call('f', { a: undefined })], [call('f', { b: undefined })])).toBeCloseTo((6 * 1) / 3 - 3, 12);
  });
  it('matches each expected call with the best left of its name', () => {
    const expected = [call('f', { a: 1 }), call('f', { a: 2 })];
    expect(toolRlReward([call('f', { a: 2 }), call('f', { a: 1 })], expected)).toBe(3);
    // One call for two: names 1/2, and one full match of 1 + 2 · 2 points.
    expect(toolRlReward([call('f', { a: 1 })], expected)).toBeCloseTo((6 * 2.5) / 5 - 3, 12);
    expect(toolRlReward([call('f', { a: 2 }), call('f', { a: 2 })], expected)).toBeCloseTo((6 * (1 + 1 + 2)) / 5 - 3, 12);
    // Names as multisets: 2 in common of 4.
    expect(toolRlReward([call('f', { a: 1 }), call('f', { a: 2 }), call('g'), call('g')], expected)).toBeCloseTo((6 * (0.5 + 4)) / 5 - 3, 12);
  });
  it('leaves a call with which it has nothing in common to the next', () => {
    // Names 1 of 2; f{a} matches nothing, f{b} all: (1/2 + 2) of 1 + 2 + 2.
    expect(toolRlReward([call('f', { b: 1 })], [call('f', { a: 1 }), call('f', { b: 1 })])).toBeCloseTo((6 * 2.5) / 5 - 3, 12);
  });
  it('compares values as Python does', () => {
    const given = (value: unknown, wanted: unknown): number => toolRlReward([call('f', { a: value })], [call('f', { a: wanted })]);
    const [same, other] = [3, (6 * 2) / 3 - 3];
    for (const [a, b] of [[{ x: 1, y: [2] }, { y: [2], x: 1 }], [true, 1], [0, false], [[true], [1]], [null, null], ['', ''], [{}, {}]]) expect(given(a, b), JSON.stringify([a, b])).toBe(same);
    for (const [a, b] of [[{ x: 1 }, { x: 1, y: 2 }], [{ x: 1 }, { y: 1 }], [[1, 2], [2, 1]], ['1', 1], [null, 0], [[], {}], [{ 0: 1 }, [1]], [true, 2], [{}, null]]) {
      expect(given(a, b), JSON.stringify([a, b])).toBeCloseTo(other, 12);
      expect(given(b, a), JSON.stringify([b, a])).toBeCloseTo(other, 12);
    }
    // A name every object inherits is no parameter of it.
    expect(toolRlReward([call('f')], [call('f', { toString: 1 })])).toBeCloseTo((6 * 1) / 3 - 3, 12);
  });
  it('compares names as often as they stand', () => {
    // One f expected, three made: 1 in common of 3. Two f expected, one f and one g made: 1 of 3.
    expect(toolRlReward([call('f'), call('f'), call('f')], [call('f')])).toBeCloseTo((6 * (1 / 3 + 1)) / 2 - 3, 12);
    expect(toolRlReward([call('f'), call('g')], [call('f'), call('f')])).toBeCloseTo((6 * (1 / 3 + 1)) / 3 - 3, 12);
    expect(toolRlReward([call('f'), call('f')], [call('f'), call('f')])).toBe(3);
  });
  it('knows nothing expected, and nothing parsed', () => {
    // No call expected: 0 whatever is made, as the released code has it.
    expect([toolRlReward([], []), toolRlReward([call('f')], []), toolRlReward(null, []), toolRlReward(null, [call('f')]), toolRlReward([], [call('f')])]).toEqual([0, 0, 0, -3, -3]);
    expect(toolRlReward([call('f')], [call('f')])).toBe(3);
  });
});

describe('KL in the reward', () => {
  it('is β Σ (old − ref) over active tokens of each row', () => {
    const input = { rewards: [1, 2], oldLogps: [-1, -2, -4, -1, -3, NaN], refLogps: [-3, -2, -8, -2, -1, NaN], mask: [1, 1, 0, 1, 1, 0], shape: [2, 3] as [number, number] };
    expect(Array.from(klInReward(input, 0.5))).toEqual([0, 2.5]);
    expect(Array.from(klInReward(input, 0))).toEqual([1, 2]);
    expect(Array.from(klInReward({ ...input, rewards: [null, 2] }, 0.5))).toEqual([NaN, 2.5]);
    expect(() => klInReward(input, -1)).toThrow(/beta/);
    for (const wrong of [{ rewards: [1] }, { oldLogps: [1] }, { refLogps: [1] }, { mask: [1] }]) expect(() => klInReward({ ...input, ...wrong }, 1)).toThrow(/shape/);
    expect(klInReward({ rewards: [1e308], oldLogps: [1e308], refLogps: [-1e308], mask: [1], shape: [1, 1] }, 1)[0]).toBe(1e308 - Number.MAX_VALUE);
  });
});

describe('coefficients that follow a target', () => {
  it('KL: by the clipped error, times n / horizon', () => {
    const at = (kl: number): number => updateAdaptiveKl({ coefficient: 0.5 }, kl, 10, { target: 2, horizon: 100 }).coefficient;
    for (const [kl, error] of [[2, 0], [2.2, 0.1], [1.8, -0.1], [9, 0.2], [0, -0.2]] as const) expect(at(kl)).toBeCloseTo(0.5 * (1 + error / 10), 12);
    expect(() => at(NaN)).toThrow(/kl/);
    for (const name of ['target', 'horizon'] as const) expect(() => updateAdaptiveKl({ coefficient: 1 }, 1, 1, { target: 1, horizon: 1, [name]: 0 })).toThrow(name);
  });
  it('entropy: up at the target or below it, down above, within its bounds', () => {
    const at = (coefficient: number, entropy: number, options = {}): number => updateAdaptiveEntropy({ coefficient, lastEntropy: 9 }, entropy, { target: 0.5, delta: 0.1, min: 0.2, max: 0.8, ...options }).coefficient;
    expect(at(0.5, 0.4)).toBeCloseTo(0.6, 12);
    expect(at(0.5, 0.5)).toBeCloseTo(0.6, 12);
    expect(at(0.5, 0.6)).toBeCloseTo(0.4, 12);
    expect(at(0.75, 0.1)).toBe(0.8);
    expect(at(0.25, 0.9)).toBe(0.2);
  });
});
