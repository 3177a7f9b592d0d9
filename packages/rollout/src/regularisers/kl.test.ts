/** @file KL terms through the loss, both paths, against the estimators' formulas written out here. */
import { describe, expect, it } from 'vitest';
import { type KlOptions, biasCorrectedKl, clip, groupNorm, klEstimate, klPenalty, objective, reinforce, tokenSum, type Regulariser } from '../index.ts';
import type { Surrogate } from '../surrogates/surrogate.ts';

const logps = [-1, -0.5, -2, -3, -0.01, -30, -0.1, -1, -9];
const refLogps = [-1.2, -0.5, -1, -8, -4, -1, -30, -1.0005, -9.0005];
const mask = [1, 1, 1, 1, 1, 1, 1, 1, 0];
const shape: [number, number] = [1, 9];

/** The general path (reinforce) and the single pass (clip), with A = 0, so that only the KL is left. */
const terms = (regulariser: Regulariser) =>
  [reinforce(), clip()].map((surrogate: Surrogate) => {
    const { loss, dLogp, metrics } = objective({ name: 'kl', advantage: groupNorm(), surrogate, regularisers: [regulariser], aggregation: tokenSum() }).loss({ logps, oldLogps: logps, refLogps, advantages: [0], mask, shape });
    return { loss, dLogp: Array.from(dLogp), kl: metrics['kl'] };
  });

const formulas: Record<string, (d: number) => [number, number]> = {
  k1: (d) => [-d, 1],
  abs: (d) => [Math.abs(d), d === 0 ? 0 : -Math.sign(d)],
  k2: (d) => [0.5 * d * d, -d],
  k3: (d) => [Math.expm1(d) - d, -Math.expm1(d)],
};

describe('klPenalty', () => {
  it.each<[string, KlOptions]>([
    ['k1', { estimator: 'k1' }],
    ['abs', { estimator: 'abs' }],
    ['k2', { estimator: 'k2' }],
    ['k3', {}],
    ['k3', { logRatioClamp: 20, valueClamp: 10 }],
    ['k3', { logRatioClamp: 2 }],
    ['k3', { valueClamp: 10 }],
    ['k1', { estimator: 'k1', valueClamp: 10, clampEveryEstimator: true }],
    ['k1', { estimator: 'k1', valueClamp: 10 }],
    ['k2', { estimator: 'k2', valueClamp: 10, clampEveryEstimator: true }],
    ['k3', { k2Gradient: true }],
    ['k1', { estimator: 'k1', k2Gradient: true }],
  ])('%s %o', (name, options) => {
    const bound = name === 'k3' || options.clampEveryEstimator === true ? (options.valueClamp ?? Infinity) : Infinity;
    const limit = name === 'k3' ? (options.logRatioClamp ?? Infinity) : Infinity;
    const expected = logps.map((l, k) => {
      const raw = (refLogps[k] as number) - l;
      const d = Math.min(Math.max(raw, -limit), limit);
      const [value, slope] = (formulas[name] as (d: number) => [number, number])(d);
      const cut = Math.min(Math.max(value, -bound), bound);
      return { value: cut, slope: options.k2Gradient === true ? -raw : raw !== d || cut !== value ? 0 : slope };
    });
    const total = expected.reduce((sum, { value }, k) => sum + (mask[k] as number) * value, 0);
    const pair = new Float64Array(2);
    expected.forEach(({ value, slope }, k) => {
      klEstimate(logps[k] as number, refLogps[k] as number, options, pair);
      expect(Math.abs((pair[0] as number) - value)).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(value)));
      expect(Math.abs((pair[1] as number) - slope)).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(slope)));
    });
    for (const { loss, dLogp, kl } of terms(klPenalty(0.5, options))) {
      expect(Math.abs(loss - 0.5 * total)).toBeLessThan(1e-9 * Math.max(1, Math.abs(total)));
      expect(Math.abs((kl as number) - total / 8)).toBeLessThan(1e-9 * Math.max(1, Math.abs(total)));
      dLogp.forEach((g, k) => expect(Math.abs(g - 0.5 * (mask[k] as number) * (expected[k]?.slope as number))).toBeLessThan(1e-9 * Math.max(1, Math.abs(g))));
    }
  });
  it('keeps k3’s precision near 0', () => {
    const pair = new Float64Array(2);
    for (const d of [1e-3, -1e-3, 9.99e-4, 1e-5, -1e-8, 1e-12]) {
      klEstimate(-1, -1 + d, {}, pair);
      const exact = (-1 + d + 1) ** 2;
      expect((pair[0] as number) / (exact * (0.5 + d / 6 + (d * d) / 24))).toBeCloseTo(1, 8);
    }
  });
  it('names its metric and its need', () => {
    expect(klPenalty(1)).toMatchObject({ name: 'kl(k3)', needs: ['refLogps'], metric: 'kl' });
    expect(klPenalty(1, { estimator: 'k2' })).toMatchObject({ name: 'kl(k2)' });
    for (const options of [{ k2Gradient: true }, { float32: true }, { estimator: 'k1' }] as const) expect(klPenalty(1, options).fusedK3).toBeUndefined();
    // Where the single pass may compute it: anywhere, or inside both clamps (k3 is at most 10 from −10 to log 11).
    expect(klPenalty(0.5).fusedK3).toEqual({ beta: 0.5, least: -Infinity, most: Infinity });
    expect(klPenalty(0.5, { clampEveryEstimator: true }).fusedK3).toBeDefined();
    expect(klPenalty(0.5, { logRatioClamp: 20, valueClamp: 10 }).fusedK3).toEqual({ beta: 0.5, least: -10, most: Math.log1p(10) });
    expect(klPenalty(0.5, { logRatioClamp: 2 }).fusedK3).toEqual({ beta: 0.5, least: -2, most: 2 });
    expect(klPenalty(0.5, { valueClamp: 10 }).fusedK3).toEqual({ beta: 0.5, least: -10, most: Math.log1p(10) });
    expect(biasCorrectedKl(1, 'token')).toMatchObject({ needs: ['refLogps', 'oldLogps'], metric: 'kl' });
  });
  it('stays finite, and keeps its sign, for gaps beyond exp', () => {
    const pair = new Float64Array(2);
    klEstimate(-2000, 0, {}, pair);
    expect(Array.from(pair)).toEqual([1e290, -1e290]);
    klEstimate(0, -2000, {}, pair);
    expect(pair[0]).toBe(1999);
    expect(pair[1]).toBe(1);
    klEstimate(1e308, -1e308, { estimator: 'k1' }, pair);
    expect(pair[0]).toBe(1e290);
    klEstimate(-1e308, 1e308, { estimator: 'k2' }, pair);
    expect(Array.from(pair)).toEqual([1e290, -1e290]);
    const one = objective({ name: 'kl', advantage: groupNorm(), surrogate: clip(), regularisers: [klPenalty(1)], aggregation: tokenSum() });
    const { loss, dLogp } = one.loss({ logps: [-2000, -1], oldLogps: [-2000, -1], refLogps: [0, -1], advantages: [0], mask: [1, 1], shape: [1, 2] });
    expect(loss).toBe(1e290);
    expect(Array.from(dLogp)).toEqual([-1e290, 0]);
  });
});

describe('biasCorrectedKl', () => {
  const input = { logps: [-1, -2, -0.5, -7], oldLogps: [-1.2, -1.5, -0.9, -7], refLogps: [-1.5, -1.8, -1, -7], advantages: [0], mask: [1, 1, 1, 0], shape: [1, 4] as [number, number] };
  const k3 = (k: number): number => Math.expm1((input.refLogps[k] as number) - (input.logps[k] as number)) - ((input.refLogps[k] as number) - (input.logps[k] as number));
  const slope = (k: number): number => -Math.expm1((input.refLogps[k] as number) - (input.logps[k] as number));
  const delta = (k: number): number => (input.logps[k] as number) - (input.oldLogps[k] as number);
  const at = (level: 'token' | 'sequence') => objective({ name: 'kl', advantage: groupNorm(), surrogate: reinforce(), regularisers: [biasCorrectedKl(0.5, level)], aggregation: tokenSum() }).loss(input);
  it('multiplies by each token’s ratio', () => {
    const { loss, dLogp } = at('token');
    expect(loss).toBeCloseTo(0.5 * [0, 1, 2].reduce((s, k) => s + k3(k) * Math.exp(delta(k)), 0), 12);
    [0, 1, 2].forEach((k) => expect(dLogp[k]).toBeCloseTo(0.5 * Math.exp(delta(k)) * (slope(k) + k3(k)), 12));
    expect(dLogp[3]).toBe(0);
  });
  it('or by the sequence’s', () => {
    const { loss, dLogp } = at('sequence');
    const s = Math.exp((delta(0) + delta(1) + delta(2)) / 3);
    const total = (k3(0) + k3(1) + k3(2)) * s;
    expect(loss).toBeCloseTo(0.5 * total, 12);
    [0, 1, 2].forEach((k) => expect(dLogp[k]).toBeCloseTo(0.5 * (slope(k) * s + total / 3), 12));
    expect(dLogp[3]).toBe(0);
  });
});

describe('the ends of the range', () => {
  it('keep every estimator finite, with the sign it has', () => {
    const at = (logp: number, refLogp: number, options: KlOptions) => {
      const pair = new Float64Array(2);
      klEstimate(logp, refLogp, options, pair);
      return Array.from(pair);
    };
    expect(at(1e300, -1e300, { estimator: 'k1' })).toEqual([1e290, 1]);
    expect(at(-1e300, 1e300, { estimator: 'k1' })).toEqual([-1e290, 1]);
    expect(at(-1e300, 1e300, { estimator: 'k2' })).toEqual([1e290, -1e290]);
    expect(at(1e300, -1e300, { estimator: 'k1', k2Gradient: true })[1]).toBe(1e290);
    expect(at(0, 705, {})).toEqual([1e290, -1e290]);
    expect(at(0, 650, {})[1]).toBe(1 - Math.exp(650));
    expect(at(0, -5, {})).toEqual([Math.exp(-5) + 4, 1 - Math.exp(-5)]);
  });
  it('have the series near 0: d²/2 + d³/6 + d⁴/24 + d⁵/120', () => {
    for (const d of [9.9e-4, -9.9e-4, 5e-4, 1e-5]) {
      const pair = new Float64Array(2);
      klEstimate(0, d, {}, pair);
      const exact = d * d * (1 / 2 + d / 6 + (d * d) / 24 + d ** 3 / 120 + d ** 4 / 720);
      expect(Math.abs((pair[0] as number) / exact - 1)).toBeLessThan(1e-14);
      const general = objective({ name: 'kl', advantage: groupNorm(), surrogate: reinforce(), regularisers: [klPenalty(1)], aggregation: tokenSum() });
      const { loss } = general.loss({ logps: [0], oldLogps: [0], refLogps: [d], advantages: [0], mask: [1], shape: [1, 1] });
      expect(Math.abs(loss / exact - 1)).toBeLessThan(1e-14);
    }
  });
  it('bound what they bound, for each estimator', () => {
    const loss = (d: number, options: KlOptions) =>
      objective({ name: 'kl', advantage: groupNorm(), surrogate: clip(), regularisers: [klPenalty(1, options)], aggregation: tokenSum() }).loss({ logps: [0], oldLogps: [0], refLogps: [d], advantages: [0], mask: [1], shape: [1, 1] });
    // OpenRLHF bounds every estimator, and counts in float32.
    expect(loss(-30, { estimator: 'k1', valueClamp: 10, clampEveryEstimator: true })).toMatchObject({ loss: 10 });
    expect(loss(30, { estimator: 'k1', valueClamp: 10, clampEveryEstimator: true })).toMatchObject({ loss: -10 });
    expect(loss(30, { estimator: 'k1', valueClamp: 10 })).toMatchObject({ loss: -30 });
    expect(loss(0.1, { float32: true }).loss).toBe(Math.fround(Math.fround(Math.fround(Math.exp(Math.fround(0.1))) - Math.fround(0.1)) - 1));
    expect(loss(0.1, { float32: true }).loss).not.toBe(loss(0.1, {}).loss);
    expect(loss(3, { valueClamp: 10 })).toMatchObject({ loss: 10 });
    expect(loss(3, { valueClamp: 10 }).dLogp[0]).toBe(0);
    expect(loss(25, { logRatioClamp: 20 }).loss).toBe(Math.exp(20) - 21);
    expect(loss(25, { logRatioClamp: 20 }).dLogp[0]).toBe(0);
    expect(loss(25, {}).dLogp[0]).toBe(1 - Math.exp(25));
  });
  it('leaves masked tokens out of the bias-corrected KL, at either level', () => {
    for (const level of ['token', 'sequence'] as const) {
      const at = (tail: number, active: number) =>
        objective({ name: 'kl', advantage: groupNorm(), surrogate: reinforce(), regularisers: [biasCorrectedKl(1, level)], aggregation: tokenSum() }).loss({ logps: [-1, tail], oldLogps: [-1.5, tail], refLogps: [-1.25, tail], advantages: [0], mask: [1, active], shape: [1, 2] });
      const { loss, dLogp } = at(NaN, 0);
      const d = -0.25;
      const k3 = Math.exp(d) - d - 1;
      expect(loss).toBeCloseTo(Math.exp(0.5) * k3, 12);
      expect(dLogp[0]).toBeCloseTo(Math.exp(0.5) * (1 - Math.exp(d) + k3), 12);
      expect(dLogp[1]).toBe(0);
    }
  });
});

describe('rows', () => {
  it.each([
    ['k3', klPenalty(1)],
    ['k1', klPenalty(1, { estimator: 'k1' })],
    ['k3 r', biasCorrectedKl(1, 'token')],
    ['k3 s', biasCorrectedKl(1, 'sequence')],
  ])('end where they end: %s of two rows is that of each', (_, regulariser) => {
    const at = (logps: number[], refs: number[], rows: number) =>
      objective({ name: 'kl', advantage: groupNorm(), surrogate: reinforce(), regularisers: [regulariser], aggregation: tokenSum() }).loss({ logps, oldLogps: logps.map(() => -1), refLogps: refs, advantages: Array(rows).fill(0) as number[], mask: logps.map(() => 1), shape: [rows, 2] });
    const [one, two, both] = [at([-1, -2], [-1.5, -1], 1), at([-3, -0.5], [-1, -2], 1), at([-1, -2, -3, -0.5], [-1.5, -1, -1, -2], 2)];
    expect(both.loss).toBeCloseTo(one.loss + two.loss, 12);
    expect(both.metrics['kl']).toBeCloseTo(((one.metrics['kl'] as number) + (two.metrics['kl'] as number)) / 2, 12);
    [...one.dLogp, ...two.dLogp].forEach((g, k) => expect(both.dLogp[k]).toBeCloseTo(g, 12));
  });
});
