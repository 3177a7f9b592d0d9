import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clip, klPenalty, objective, tokenSum, groupNorm, type LossInput } from '../index.ts';
import { readBatch } from '../batch/view.ts';
import { RUNS } from '../../test/runs.ts';
import { type FusedClip, type FusedK3, fusedClipRow } from './fusedClip.ts';
import { REACH, clipAndK3Run, clipRun } from './fusedLoops.ts';
import { makeScratch } from './surrogate.ts';

/** One row a token, so that every token has its own advantage and its own path. */
const run = (gaps: readonly number[], advantage: number, bounds: { epsilon: number; epsilonHigh: number; dualClip?: number }, refGaps?: readonly number[], mask?: readonly number[]) =>
  objective({ name: 'test', advantage: groupNorm(), surrogate: clip(bounds), regularisers: refGaps === undefined ? [] : [klPenalty(0.5)], aggregation: tokenSum() }).loss({
    logps: gaps,
    oldLogps: gaps.map(() => 0),
    ...(refGaps === undefined ? {} : { refLogps: refGaps.map((d, k) => d + (gaps[k] as number)) }),
    advantages: [advantage],
    mask: mask ?? gaps.map(() => 1),
    shape: [1, gaps.length],
  });
const wide = { epsilon: 1, epsilonHigh: 1e9 };
const close = (actual: number, exact: number) => expect(Math.abs(actual - exact)).toBeLessThanOrEqual(4 * Number.EPSILON * Math.abs(exact));

describe('the single pass', () => {
  const scan = Array.from({ length: 4001 }, (_, i) => (i - 2000) / 401);

  it('has the ratio of Math.exp to a few units in the last place, inside its table and beyond', () => {
    const points = [...scan, 1e-300, -1e-17, 3.9999999999999996, -3.9999999999999996, 4, -4, 10.5, -700];
    const { dLogp } = run(points, 1, wide);
    points.forEach((x, k) => close(-(dLogp[k] as number), Math.exp(x)));
    expect(run([0], 1, wide).dLogp[0]).toBe(-1);
  });
  it('has k3 and its derivative, inside its table and beyond', () => {
    const { dLogp, metrics } = run(scan.map(() => 0), 0, wide, scan);
    scan.forEach((d, k) => expect(dLogp[k]).toBeCloseTo(0.5 * (1 - Math.exp(d)), 9));
    expect(metrics['kl']).toBeCloseTo(scan.reduce((sum, d) => sum + Math.exp(d) - d - 1, 0) / scan.length, 10);
    for (const d of [-9, 9, -4, 4, 0.25]) expect(run([0], 0, wide, [d]).loss).toBeCloseTo(0.5 * (Math.exp(d) - d - 1), 9);
  });
  it('adds both gradients, of tokens beyond the table too', () => {
    for (const x of [0.1, 5]) {
      const { dLogp, loss } = run([x, x], -2, { epsilon: 0.2, epsilonHigh: 0.2 }, [0.5, 5]);
      close(dLogp[0] as number, 2 * Math.exp(x) + 0.5 * (1 - Math.exp(0.5)));
      close(dLogp[1] as number, 2 * Math.exp(x) + 0.5 * (1 - Math.exp(5)));
      close(loss, 4 * Math.exp(x) + 0.5 * (Math.exp(0.5) - 1.5 + Math.exp(5) - 6));
    }
  });
  it('counts what it clips, near and beyond the table', () => {
    const below = run([-0.5, -6, 0, 0.5, 6], -1, { epsilon: 0.2, epsilonHigh: 0.28, dualClip: 3 });
    expect(Array.from(below.dLogp)).toEqual([0, 0, 1, expect.closeTo(Math.exp(0.5), 14), 0]);
    expect(below.metrics['clip_ratio/low_mean']).toBe(0.4);
    close(below.loss, 0.8 + 0.8 + 1 + Math.exp(0.5) + 3);
    const above = run([-0.5, -6, 0, 0.5, 6], 1, { epsilon: 0.2, epsilonHigh: 0.28 });
    expect(above.dLogp[3]).toBe(0);
    expect(above.dLogp[4]).toBe(0);
    close(above.dLogp[1] as number, -Math.exp(-6));
    expect(above.metrics['clip_ratio/high_mean']).toBe(0.4);
    close(above.loss, -(Math.exp(-0.5) + Math.exp(-6) + 1 + 1.28 + 1.28));
  });
  it('skips masked runs and takes up again after them', () => {
    const { dLogp, loss } = run([NaN, 0.1, 5, NaN, NaN, 0.2, NaN], 1, wide, [NaN, 0, 0, NaN, NaN, 0, NaN], [0, 1, 1, 0, 0, 1, 0]);
    expect(Array.from(dLogp)).toEqual([0, expect.closeTo(-Math.exp(0.1), 13), expect.closeTo(-Math.exp(5), 11), 0, 0, expect.closeTo(-Math.exp(0.2), 13), 0]);
    close(loss, -(Math.exp(0.1) + Math.exp(5) + Math.exp(0.2)));
  });
  it('stops at the clamps of verl', () => {
    const verl = objective({ name: 'test', advantage: groupNorm(), surrogate: clip({ epsilon: 0.2, logRatioClamp: { min: -20, max: 20 } }), regularisers: [klPenalty(1, { logRatioClamp: 20, valueClamp: 10 })], aggregation: tokenSum() });
    const at = (x: number, d: number) => verl.loss({ logps: [x], oldLogps: [0], refLogps: [x + d], advantages: [-1], mask: [1], shape: [1, 1] });
    // Inside both clamps, k3 cut at 10 on either side, the ratio cut at e^20 without a gradient.
    close(at(19, 2).dLogp[0] as number, Math.exp(19) + 1 - Math.exp(2));
    close(at(1, 3).dLogp[0] as number, Math.E);
    close(at(1, 3).loss, Math.E + 10);
    close(at(0, -12).loss, 1 + 10);
    close(at(0, -9).loss, 1 + Math.exp(-9) + 8);
    close(at(30, 0).loss, Math.exp(20));
    expect(at(30, 0).dLogp[0]).toBe(0);
  });
});

/** The pass itself, without the general path behind it, which would give the same numbers. */
describe('the single pass of a row', () => {
  const SCALE = 0.5;
  const plain: FusedClip = { low: 0.8, high: 1.28, ceiling: 1.28, cap: Infinity, limit: Infinity };
  const row = (xs: readonly number[], a: number, bounds: FusedClip, k3?: FusedK3, ds: readonly number[] = xs.map(() => 0), mask: readonly number[] = xs.map(() => 1)) => {
    // A second row, all active, that must not be touched.
    const input: LossInput = { logps: [...xs.map((x) => x - 2), ...xs.map(() => -1)], oldLogps: [...xs.map(() => -2), ...xs.map(() => -1)], refLogps: [...xs.map((x, k) => x - 2 + (ds[k] as number)), ...xs.map(() => -1)], advantages: [a, 1], mask: [...mask, ...xs.map(() => 1)], shape: [2, xs.length] };
    const view = readBatch(input);
    const scratch = { ...makeScratch(view.columns, false), old: view.oldLogps, scale: SCALE };
    const dLogp = new Float64Array(view.tokens).fill(99);
    const loss = fusedClipRow(view, 0, scratch, dLogp, bounds, k3);
    expect(Array.from(dLogp.subarray(xs.length))).toEqual(xs.map(() => 99));
    return { loss, dLogp: Array.from(dLogp.subarray(0, xs.length)), low: scratch.low, high: scratch.high, capped: scratch.capped, logRatio: scratch.logRatio, kl: scratch.extra };
  };
  const near = (actual: number, exact: number) => expect(Math.abs(actual - exact), `${actual} for ${exact}`).toBeLessThanOrEqual(8 * Number.EPSILON * Math.max(1, Math.abs(exact)));
  const xs = [-5, -3.9, -0.5, -0.1, 0, 0.1, 0.2, 0.4, 2, 4, 6];

  it.each([[1.5, plain], [-1.5, plain], [0, plain], [-1.5, { ...plain, cap: 3 }], [1.5, { ...plain, ceiling: 1.1 }], [2, { ...plain, limit: 20 }], [-1, { ...plain, limit: 6, cap: 2 }]])('A = %f, %o', (a, bounds) => {
    const top = a < 0 ? bounds.cap : bounds.ceiling;
    for (const k3 of [undefined, { beta: 0.3, least: -Infinity, most: Infinity }, { beta: 0.3, least: -10, most: 5 }]) {
      const ds = [0.3, -5, 4.5, -4, 0, 0.2, 4, -0.7, 1e-3, 5, -10];
      const result = row(xs, a, bounds, k3, ds);
      let loss = 0;
      let kl = 0;
      const count = { low: 0, high: 0, capped: 0 };
      xs.forEach((x, k) => {
        const r = Math.exp(x);
        const below = a < 0 && r < bounds.low;
        const above = r > top;
        if (below) count.low++;
        if (above && a < 0) count.capped++;
        if (above && a > 0 && bounds.ceiling === bounds.high) count.high++;
        loss -= a * (below ? bounds.low : above ? top : r);
        const d = ds[k] as number;
        const slope = k3 === undefined ? 0 : k3.beta * (1 - Math.exp(d));
        if (k3 !== undefined) kl += Math.exp(d) - d - 1;
        near(result.dLogp[k] as number, SCALE * ((below || above ? 0 : -a * r) + slope));
      });
      near(result.loss / 100, (loss + 0.3 * kl) / 100);
      near(result.kl / 100, kl / 100);
      expect(result).toMatchObject(count);
      expect(result.logRatio).toBeCloseTo(xs.reduce((total, x) => total + x, 0), 12);
    }
  });
  it('leaves to the general path what a clamp acts on, and nothing on its edge', () => {
    expect(row([0, 20], -1, { ...plain, limit: 20 }).loss).not.toBeNaN();
    expect(row([0, -20], -1, { ...plain, limit: 20 }).loss).not.toBeNaN();
    expect(row([0, 20.5], -1, { ...plain, limit: 20 }).loss).toBeNaN();
    expect(row([0, -20.5], -1, { ...plain, limit: 20 }).loss).toBeNaN();
    expect(row([0, 0.75], -1, { ...plain, limit: 0.5 }).loss).toBeNaN();
    expect(row([0, 0.5], -1, { ...plain, limit: 0.5 }).loss).not.toBeNaN();
    const k3 = { beta: 1, least: -10, most: 2 };
    expect(row([0, 0], -1, plain, k3, [-10, 2]).loss).not.toBeNaN();
    expect(row([0, 0], -1, plain, k3, [-10.5, 0]).loss).toBeNaN();
    expect(row([0, 0], -1, plain, k3, [0, 2.5]).loss).toBeNaN();
    expect(row([0, NaN], -1, plain).loss).toBeNaN();
    expect(row([0, 0], -1, plain, k3, [NaN, 0]).loss).toBeNaN();
  });
  it('does not count a ratio that stands on its bound, in the table or beyond', () => {
    for (const k3 of [undefined, { beta: 0, least: -Infinity, most: Infinity }]) {
      for (const x of [0, 5, -5]) {
        const r = Math.exp(x);
        expect(row([x], 1, { low: 0, high: r, ceiling: r, cap: Infinity, limit: Infinity }, k3)).toMatchObject({ high: 0, dLogp: [-r * SCALE + 0] });
        expect(row([x], -1, { low: r, high: 1e9, ceiling: 1e9, cap: Infinity, limit: Infinity }, k3)).toMatchObject({ low: 0, dLogp: [r * SCALE] });
        expect(row([x], -1, { low: 0, high: 1, ceiling: 1, cap: r, limit: Infinity }, k3)).toMatchObject({ capped: 0, dLogp: [r * SCALE] });
      }
    }
  });
  it('goes over masked positions, wherever they stand', () => {
    for (const mask of [[0, 1, 1, 0, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 0]]) {
      const values = mask.map((m, k) => (m === 1 ? [0.1, 5, -0.1, 0.05, -4, 0, 0.15, -0.05][k] as number : NaN));
      const { dLogp, loss, logRatio } = row(values, -2, { ...plain, low: 0 }, undefined, values, mask);
      mask.forEach((m, k) => near(dLogp[k] as number, m === 1 ? 2 * SCALE * Math.exp(values[k] as number) : 0));
      const active = values.filter((x) => x === x);
      near(loss / 100, active.reduce((total, x) => total + 2 * Math.exp(x), 0) / 100);
      expect(logRatio).toBeCloseTo(active.reduce((total, x) => total + x, 0), 12);
    }
    // What a masked row holds for an advantage is not read.
    expect(row([1], NaN, plain, undefined, [1], [0])).toMatchObject({ dLogp: [0], low: 0, high: 0, capped: 0 });
  });
  it('its loops stop at the first token beyond their table, with the sums so far', () => {
    const logps = [0.1, -0.2, REACH, 0.3];
    const refs = [0.2, 0.1, REACH, 0.3];
    const old = [0, 0, 0, 0];
    const limits = Float64Array.of(0.85, 1.2, -1, 0.5, REACH, -REACH, REACH);
    for (const withK3 of [false, true]) {
      const out = new Float64Array(4);
      const sums = new Float64Array(5).fill(10);
      const loop = (from: number, to: number) => (withK3 ? clipAndK3Run(logps, old, refs, out, from, to, limits, sums) : clipRun(logps, old, out, from, to, limits, sums));
      expect(loop(0, 4)).toBe(2);
      expect(loop(3, 4)).toBe(4);
      expect(loop(1, 1)).toBe(1);
      // 0.1 inside, −0.2 below, 0.3 above.
      near(sums[0] as number, 10 + Math.exp(0.1));
      expect([sums[1], sums[2]]).toEqual([11, 11]);
      near(sums[3] as number, 10.2);
      near(sums[4] as number, withK3 ? 10 + Math.exp(0.1) - 1.1 + Math.exp(0.3) - 1.3 : 10);
    }
    for (const [least, most] of [[0.1, REACH], [-REACH, 0.1]] as const) expect(clipAndK3Run(logps, old, refs, new Float64Array(4), 0, 4, Float64Array.of(0.85, 1.2, -1, 0.5, REACH, least, most), new Float64Array(5))).toBe(0);
  });
});

/** Two units in the last place of a double as large as y. */
const twoUnits = (y: number): number => 2 * 2 ** (Math.floor(Math.log2(y)) - 52);

describe('the exponential of the loops', () => {
  const UNBOUNDED = Float64Array.of(-1, Infinity, 1, -1, REACH, -REACH, REACH);
  /** e^x of each loop, and of the reference's side of the second: the gradient is r, and with r clipped away −1 + e^d. */
  const exponentials = (x: number): number[] => {
    const clipped = Float64Array.of(Infinity, Infinity, 1, -1, REACH, -REACH, REACH);
    const out = new Float64Array(3);
    expect(clipRun([x], [0], out, 0, 1, UNBOUNDED, new Float64Array(5))).toBe(1);
    expect(clipAndK3Run([0, x], [0, 0], [0, x], out, 1, 2, UNBOUNDED, new Float64Array(5))).toBe(2);
    expect(clipAndK3Run([0, 0, 0], [0, 0, 0], [0, 0, x], out, 2, 3, clipped, new Float64Array(5))).toBe(3);
    return [out[0] as number, out[1] as number, (out[2] as number) + 1];
  };
  const check = (x: number): void => {
    const exact = Math.exp(x);
    const [r, rWithK3, q] = exponentials(x) as [number, number, number];
    expect(Math.abs(r - exact), `e^${x}`).toBeLessThanOrEqual(twoUnits(exact));
    expect(rWithK3).toBe(r);
    // q − 1 is rounded on its way out, by half a unit of a number as large as 1 or q.
    expect(Math.abs(q - exact), `e^${x} of the reference`).toBeLessThanOrEqual(twoUnits(Math.max(exact, 1)));
  };

  it('is within two units in the last place of Math.exp', () => {
    fc.assert(fc.property(fc.double({ noNaN: true, min: -REACH, max: REACH, minExcluded: true, maxExcluded: true }), check), RUNS);
  });
  it('is so on the points of its table, midway between two, and beside both', () => {
    fc.assert(
      fc.property(fc.integer({ min: -4095, max: 4095 }), fc.constantFrom(0, 2 ** -50, -(2 ** -50)), (half, off) => check((half / 1024) * (1 + off))),
      RUNS,
    );
  });
  it('is exactly 1 at 0, of either sign and next to it', () => {
    for (const x of [0, -0, 5e-324, -5e-324, 1e-300]) expect(exponentials(x)).toEqual([1, 1, 1]);
  });
  it('is taken of no number beyond the table', () => {
    for (const x of [REACH, -REACH, 4.5, 709, -745, 1e300, Infinity, -Infinity, NaN]) {
      const out = Float64Array.of(7);
      expect(clipRun([x], [0], out, 0, 1, UNBOUNDED, new Float64Array(5))).toBe(0);
      expect(clipAndK3Run([x], [0], [x], out, 0, 1, UNBOUNDED, new Float64Array(5))).toBe(0);
      expect(clipAndK3Run([0], [0], [x], out, 0, 1, UNBOUNDED, new Float64Array(5))).toBe(0);
      expect(out[0]).toBe(7);
    }
  });
});
