/** @file The clipped surrogate's general path and its single pass, from the formula, at every branch. */
import { describe, expect, it } from 'vitest';
import { type ClipOptions, clip, groupNorm, objective, tokenSum, verlMetrics } from '../index.ts';

const deltas = [-25, -20, -1, -0.5, -0.3, -0.1, 0, 0.1, 0.25, 0.35, 0.5, 1, 2, 20, 25];
const advantages = [2, 0, -1.5];

/** −min(r A, clip(r) A) with the cap of dual clip, its derivative, and which branch it took. */
function formula(raw: number, a: number, { epsilon = 0.2, epsilonHigh = epsilon, delta = Infinity, dualClip, logRatioClamp = {} }: ClipOptions) {
  const x = Math.min(Math.max(raw, logRatioClamp.min ?? -Infinity), logRatioClamp.max ?? Infinity);
  const r = Math.exp(x);
  const clipped = Math.min(Math.max(r, 1 - epsilon), 1 + epsilonHigh);
  const first = Math.min(r, delta as number);
  let loss = -Math.min(first * a, clipped * a);
  const taken = first * a <= clipped * a ? (r > (delta as number) ? 0 : r) : clipped === r ? r : 0;
  let grad = x === raw ? -taken * a : 0;
  if (dualClip !== undefined && a < 0 && loss > -dualClip * a) [loss, grad] = [-dualClip * a, 0];
  return { loss, grad, low: a < 0 && r < 1 - epsilon, high: a > 0 && Math.min(r, delta as number) > 1 + epsilonHigh, capped: dualClip !== undefined && a < 0 && r > dualClip };
}

const OPTIONS: ClipOptions[] = [{}, { epsilon: 0.2, epsilonHigh: 0.28 }, { dualClip: 1.3, epsilonHigh: 0.5 }, { delta: 1.3 }, { delta: 1.1, epsilonHigh: 0.2 }, { delta: 1.5, dualClip: 3 }, { delta: 3, dualClip: 1.5 }, { logRatioClamp: { min: -20, max: 20 } }, { logRatioClamp: { min: -0.5, max: 0.5 }, dualClip: 3, epsilonHigh: 0.9 }, { logRatioClamp: { max: 0.5 }, epsilon: 1, epsilonHigh: 9 }, { logRatioClamp: { min: -0.5 }, epsilon: 1, epsilonHigh: 9 }, { epsilon: 0 }, { epsilon: 0, dualClip: 1 }, { epsilon: 0, delta: 1 }];

describe.each(OPTIONS)('clip(%o)', (options) => {
  it.each(['one pass', 'general'])('%s', (path) => {
    const { fused, ...general } = clip(options);
    const surrogate = path === 'general' || fused === undefined ? general : { ...general, fused };
    const one = objective({ name: 'clip', advantage: groupNorm(), surrogate, aggregation: tokenSum(), metrics: verlMetrics() });
    for (const a of advantages) {
      for (const x of deltas) {
        const expected = formula(x, a, options);
        const { loss, dLogp, metrics } = one.loss({ logps: [x - 30, NaN], oldLogps: [-30, NaN], advantages: [a], mask: [1, 0], shape: [1, 2] });
        const size = Math.max(1, Math.abs(expected.loss));
        expect(Math.abs(loss - expected.loss), `${x} ${a}`).toBeLessThan(1e-12 * size);
        expect(Math.abs((dLogp[0] as number) - expected.grad), `${x} ${a}`).toBeLessThan(1e-12 * size);
        expect(metrics['actor/pg_clipfrac']).toBeCloseTo(expected.low || expected.high ? 1 : 0, 6);
        if (options.delta === undefined) expect(metrics['actor/pg_clipfrac_lower']).toBeCloseTo(expected.capped ? 1 : 0, 6);
      }
    }
  });
  it('per token', () => {
    const one = objective({ name: 'clip', advantage: groupNorm(), surrogate: clip(options), aggregation: tokenSum() });
    const { dLogp } = one.loss({ logps: [0.1, 0.25, -0.1], oldLogps: [0, 0, 0], advantages: [2, -1.5, 0], mask: [1, 1, 1], shape: [1, 3] });
    [0.1, 0.25, -0.1].forEach((x, k) => expect((dLogp[k] as number) - formula(x, [2, -1.5, 0][k] as number, options).grad).toBeCloseTo(0, 12));
  });
  it.each(['sequence', 'sequence-token', 'product'] as const)('of a %s', (level) => {
    for (const clipCount of ['sequences', 'tokens'] as const) {
      const one = objective({ name: 'clip', advantage: groupNorm(), surrogate: clip({ ...options, level, clipCount }), aggregation: tokenSum(), metrics: verlMetrics() });
      for (const a of advantages) {
        for (const x of deltas) {
          const share = level === 'product' ? x / 2 : x;
          const expected = formula(x, a, options);
          const { loss, dLogp, metrics } = one.loss({ logps: [share - 30.5, share - 29.5, NaN], oldLogps: [-30.5, -29.5, NaN], advantages: [a], mask: [1, 1, 0], shape: [1, 3] });
          const size = Math.max(1, Math.abs(expected.loss));
          expect(Math.abs(loss - 2 * expected.loss), `${x} ${a}`).toBeLessThan(1e-11 * size);
          const slope = level === 'product' ? 2 * expected.grad : expected.grad;
          for (const k of [0, 1]) expect(Math.abs((dLogp[k] as number) - slope), `${x} ${a}`).toBeLessThan(1e-11 * size);
          expect(dLogp[2]).toBe(0);
          const count = level !== 'sequence-token' && clipCount === 'sequences' ? 0.5 : 1;
          expect(metrics['actor/pg_clipfrac']).toBeCloseTo(expected.low || expected.high ? count : 0, 6);
          if (options.delta === undefined) expect(metrics['actor/pg_clipfrac_lower']).toBeCloseTo(expected.capped ? count : 0, 6);
        }
      }
    }
  });
});

it('keeps its gradient where a ratio is cut because it has no double', () => {
  const { fused: _, ...general } = clip();
  for (const surrogate of [clip(), general, clip({ level: 'sequence-token' })]) {
    const { dLogp } = objective({ name: 'clip', advantage: groupNorm(), surrogate, aggregation: tokenSum() }).loss({ logps: [400], oldLogps: [-400], advantages: [-1e-20], mask: [1], shape: [1, 1] });
    expect((dLogp[0] as number) / (Math.exp(700) * 1e-20)).toBeCloseTo(1, 12);
  }
});

describe('a sequence whose log-ratio has no double', () => {
  const run = (logps: number[], oldLogps: number[]) =>
    objective({ name: 'clip', advantage: groupNorm(), surrogate: clip({ level: 'sequence', epsilonHigh: 1e9 }), aggregation: tokenSum(), metrics: verlMetrics() }).loss({ logps, oldLogps, advantages: [-1], mask: [1, 1, 1], shape: [1, 3] });
  it('counts as 0 where both ends overflow, else stays finite', () => {
    const both = run([1e308, 1e308, -1e308], [-1e308, -1e308, 1e308]);
    expect(both.loss).toBe(3);
    expect(both.metrics['actor/ppo_kl']).toBeCloseTo(0, 12);
    expect((run([1e308, 0, 0], [-1e308, 0, 0]).metrics['actor/ppo_kl'] as number) / -1e290).toBeCloseTo(1 / 3, 6);
    expect((run([-1e308, 0, 0], [1e308, 0, 0]).metrics['actor/ppo_kl'] as number) / 1e290).toBeCloseTo(1 / 3, 6);
  });
});
