import { describe, expect, it } from 'vitest';
import { clip, klPenalty, objective, tokenSum, groupNorm } from '../index.ts';

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
