import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type LossInput, type Objective, bapo, biasCorrectedKl, cispo, cispoSurrogate, clip, dapo, dispo, dppo, drGrpo, dro, effectiveSampleSize, fromEasyR1, fromOpenRlhf, fromTrl, fromVerl, gmpo, groupNorm,
  grpo, gspo, importanceWeights, klEstimate, klPenalty, llds, mdpo, objective, overlongPenalty, poro, poroDapo, poroGrpo, reinforce, reinforcePlusPlus, rloo, sequenceMean, softGate,
  tokenMean, tokenSum, vespo,
} from './index.ts';
import type { Surrogate } from './surrogates/surrogate.ts';
import { RUNS } from '../test/runs.ts';

const logp = fc.double({ noNaN: true, min: -6, max: 0 });

interface Batch {
  logps: number[];
  oldLogps: number[];
  refLogps: number[];
  behaviorLogps: number[];
  entropy: number[];
  advantages: number[];
  mask: number[];
  shape: [number, number];
  origin: (0 | 1)[];
}

const batch = fc
  .record({ rows: fc.integer({ min: 1, max: 4 }), columns: fc.integer({ min: 1, max: 6 }) })
  .chain(({ rows, columns }) => {
    const tokens = (a: fc.Arbitrary<number>): fc.Arbitrary<number[]> => fc.array(a, { minLength: rows * columns, maxLength: rows * columns });
    return fc.record({
      logps: tokens(logp),
      oldLogps: tokens(logp),
      refLogps: tokens(logp),
      behaviorLogps: tokens(logp),
      entropy: tokens(fc.double({ noNaN: true, min: 0, max: 3 })),
      advantages: fc.array(fc.double({ noNaN: true, min: -3, max: 3 }), { minLength: rows, maxLength: rows }),
      mask: tokens(fc.constantFrom(0, 1, 1)),
      shape: fc.constant([rows, columns] as [number, number]),
      origin: fc.array(fc.constantFrom<0 | 1>(0, 1), { minLength: rows, maxLength: rows }),
    });
  });

const make = (surrogate: Surrogate, extra: Partial<Parameters<typeof objective>[0]> = {}): Objective =>
  objective({ name: surrogate.name, advantage: groupNorm(), surrogate, aggregation: tokenMean(), ...extra });

/** Everything whose loss is a differentiable function of logp (detached weights are tested on their own). */
const DIFFERENTIABLE: Objective[] = [
  grpo({ beta: 0.04 }), dapo(), drGrpo({ maxCompletionLength: 8 }), rloo(), gspo({ epsilon: 0.2, epsilonHigh: 0.3, beta: 0.1 }), poroGrpo(), poroDapo(), reinforcePlusPlus({ beta: 0.1 }),
  make(clip({ delta: 1.7 })), make(clip({ epsilonHigh: 0.3, dualClip: 3 })), make(softGate()), make(softGate({ level: 'sequence' })), make(gmpo()), make(dro(0.5)), make(mdpo(2)), make(reinforce()),
  make(clip(), { regularisers: [biasCorrectedKl(0.1, 'token')] }), make(clip({ level: 'sequence' }), { regularisers: [biasCorrectedKl(0.1, 'sequence')], aggregation: sequenceMean() }),
  make(clip(), { regularisers: [klPenalty(0.1, { estimator: 'k2' })] }), make(clip(), { regularisers: [klPenalty(0.1, { estimator: 'k1' })] }), make(clip(), { sequenceRegularisers: [llds()] }),
  poro(dapo(), { ratioReference: 'behavior' }), poro(grpo(), { ratioReference: 'shaped' }), fromEasyR1({ loss_type: 'gspo' }), fromOpenRlhf({ policy_loss_type: 'gspo' }), fromTrl({ loss_type: 'luspo', importance_sampling_level: 'sequence' }),
];
const DETACHED: Objective[] = [
  cispo(), make(dispo()), make(dppo({ divergence: 'tv' })), make(dppo({ divergence: 'kl' })), make(vespo()), fromVerl({ loss_mode: 'cispo' }), fromVerl({ loss_mode: 'gspo' }), fromVerl({ loss_mode: 'kl_cov' }), make(bapo() as Surrogate),
  fromTrl({ vllm_importance_sampling_mode: 'token_truncate' }), fromVerl({ rollout_is: 'token', rollout_rs: 'seq_mean_k3', rollout_rs_threshold: 0.5 }), poro(grpo(), { ratioReference: 'detached' }),
];
const ALL = [...DIFFERENTIABLE, ...DETACHED];

describe('every objective', () => {
  it('ignores what is masked, even NaN, and gives it no gradient', () => {
    fc.assert(
      fc.property(batch, (b) => {
        const poison = (xs: number[]): number[] => xs.map((x, k) => (b.mask[k] === 1 ? x : NaN));
        const poisoned = { ...b, logps: poison(b.logps), oldLogps: poison(b.oldLogps), refLogps: poison(b.refLogps), behaviorLogps: poison(b.behaviorLogps), entropy: poison(b.entropy) };
        for (const o of ALL) {
          const clean = o.loss(b);
          const dirty = o.loss(poisoned);
          expect(dirty.loss, o.name).toBe(clean.loss);
          expect(dirty.dLogp).toEqual(clean.dLogp);
          expect(dirty.metrics).toEqual(clean.metrics);
          b.mask.forEach((m, k) => m === 0 && expect(clean.dLogp[k]).toBe(0));
        }
      }),
      RUNS,
    );
  });
  it('is finite for every finite number, however large', () => {
    const wild = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom(Number.MAX_VALUE, -Number.MAX_VALUE, 1e308, -1e308, 5e-324, 0, -745, 710));
    const wildBatch = fc.record({ logps: fc.array(wild, { minLength: 4, maxLength: 4 }), oldLogps: fc.array(wild, { minLength: 4, maxLength: 4 }), refLogps: fc.array(wild, { minLength: 4, maxLength: 4 }), behaviorLogps: fc.array(wild, { minLength: 4, maxLength: 4 }), advantages: fc.array(wild, { minLength: 2, maxLength: 2 }) });
    fc.assert(
      fc.property(wildBatch, (b) => {
        for (const o of ALL) {
          const { loss, dLogp } = o.loss({ ...b, entropy: [0, 1, 2, 3], mask: [1, 1, 1, 1], shape: [2, 2], origin: [0, 1] });
          expect(Number.isFinite(loss), o.name).toBe(true);
          expect(dLogp.every((g) => Number.isFinite(g)), o.name).toBe(true);
        }
      }),
      RUNS,
    );
  });
  it('changes no input, takes either width and layout, and writes where it is told', () => {
    fc.assert(
      fc.property(batch, fc.integer({ min: 0, max: 3 }), (b, extra) => {
        const [rows, columns] = b.shape;
        const offsets = Array.from({ length: rows + 1 }, (_, i) => i * columns);
        const wide = columns + extra;
        const pad = (xs: number[], fill: number): number[] => Array.from({ length: rows * wide }, (_, k) => (k % wide < columns ? (xs[Math.floor(k / wide) * columns + (k % wide)] as number) : fill));
        const padded = { ...b, logps: pad(b.logps, NaN), oldLogps: pad(b.oldLogps, 7), refLogps: pad(b.refLogps, -Infinity), behaviorLogps: pad(b.behaviorLogps, NaN), entropy: pad(b.entropy, NaN), mask: pad(b.mask, 0), shape: [rows, wide] as [number, number] };
        for (const o of [grpo({ beta: 0.1 }), poroGrpo(), gspo(), cispo(), rloo()]) {
          const plain = o.loss(b);
          const frozen = o.loss({ ...b, logps: Object.freeze([...b.logps]), mask: Object.freeze([...b.mask]) });
          expect(frozen).toEqual(plain);
          const { shape: _, ...rest } = b;
          expect(o.loss({ ...rest, offsets })).toEqual(plain);
          expect(Math.abs(o.loss(padded).loss - plain.loss)).toBeLessThan(1e-12);
          const out = new Float64Array(rows * columns).fill(3);
          expect(o.loss({ ...b, logps: Float64Array.from(b.logps), mask: Uint8Array.from(b.mask), out }).dLogp).toBe(out);
          expect(out).toEqual(plain.dLogp);
          const single = Float32Array.from(b.logps);
          expect(o.loss({ ...b, logps: single }).loss).toBe(o.loss({ ...b, logps: Array.from(single) }).loss);
        }
      }),
      RUNS,
    );
  });
  it('does not change when a batch is split, given the global counts', () => {
    const sums: Objective[] = [grpo({ beta: 0.1 }), dapo(), drGrpo({ maxCompletionLength: 9 }), gspo(), cispo(), poroGrpo(), rloo(), fromVerl({ loss_agg_mode: 'token-mean' }), fromVerl({ loss_agg_mode: 'token-sum' }), fromTrl({ loss_type: 'sapo' })];
    fc.assert(
      fc.property(batch, (b) => {
        const [rows, columns] = b.shape;
        const numItemsInBatch = b.mask.reduce((s, m) => s + m, 0);
        for (const o of sums) {
          const whole = o.loss(b);
          let loss = 0;
          for (let i = 0; i < rows; i++) {
            const row = <T>(xs: readonly T[]): T[] => xs.slice(i * columns, (i + 1) * columns);
            const part = o.loss({ logps: row(b.logps), oldLogps: row(b.oldLogps), refLogps: row(b.refLogps), mask: row(b.mask), advantages: [b.advantages[i] as number], shape: [1, columns], numItemsInBatch, globalBatchSize: rows });
            loss += part.loss;
            part.dLogp.forEach((g, t) => expect(Math.abs(g - (whole.dLogp[i * columns + t] as number))).toBeLessThan(1e-12));
          }
          expect(Math.abs(loss - whole.loss), o.name).toBeLessThan(1e-9);
        }
      }),
      RUNS,
    );
  });
  it('follows a permutation of rows', () => {
    fc.assert(
      fc.property(batch, (b) => {
        const [rows, columns] = b.shape;
        const flip = <T>(xs: readonly T[], width: number): T[] => Array.from({ length: rows }, (_, i) => xs.slice((rows - 1 - i) * width, (rows - i) * width)).flat();
        const flipped = { ...b, logps: flip(b.logps, columns), oldLogps: flip(b.oldLogps, columns), refLogps: flip(b.refLogps, columns), behaviorLogps: flip(b.behaviorLogps, columns), entropy: flip(b.entropy, columns), mask: flip(b.mask, columns), advantages: flip(b.advantages, 1), origin: flip(b.origin, 1) };
        for (const o of ALL.filter((o) => !o.name.includes('kl_cov'))) {
          const one = o.loss(b);
          const two = o.loss(flipped);
          expect(Math.abs(two.loss - one.loss), o.name).toBeLessThan(1e-9 * Math.max(1, Math.abs(one.loss)));
          flip(Array.from(one.dLogp), columns).forEach((g, k) => expect(Math.abs(g - (two.dLogp[k] as number)), o.name).toBeLessThan(1e-9 * Math.max(1, Math.abs(g))));
        }
      }),
      RUNS,
    );
  });
});

describe('gradients', () => {
  it('agree with central differences away from kinks', () => {
    fc.assert(
      fc.property(batch, fc.nat(), (b, pick) => {
        const h = 1e-6;
        const o = DIFFERENTIABLE[pick % DIFFERENTIABLE.length] as Objective;
        const at = (k: number, d: number): number => o.loss({ ...b, logps: b.logps.map((x, j) => (j === k ? x + d : x)) }).loss;
        const { dLogp } = o.loss(b);
        b.logps.forEach((_, k) => {
          if (b.mask[k] === 0) return;
          const [low, mid, high] = [at(k, -h), at(k, 0), at(k, h)];
          const [left, right] = [(mid - low) / h, (high - mid) / h];
          // Two one-sided slopes that differ are a kink within ±h; one that is let pass moves the mean slope by half as much.
          const size = Math.max(1, Math.abs(left), Math.abs(right));
          if (Math.abs(left - right) > 3e-3 * size) return;
          expect(Math.abs((high - low) / (2 * h) - (dLogp[k] as number)), o.name).toBeLessThan(2e-3 * size);
        });
      }),
      RUNS,
    );
  });
  it('on-policy are REINFORCE’s for every ratio', () => {
    const built = [dapo(), make(softGate()), make(softGate({ tauPositive: 3, tauNegative: 0.2 })), make(mdpo(1)), cispo(), make(dispo()), make(bapo() as Surrogate), make(clip({ dualClip: 3 })), make(dppo({ divergence: 'tv' })), poroDapo()];
    fc.assert(
      fc.property(batch, (b) => {
        const active = Math.max(1, b.mask.reduce((s, m) => s + m, 0));
        for (const o of built) {
          const { dLogp } = o.loss({ ...b, oldLogps: b.logps });
          dLogp.forEach((g, k) => expect(Math.abs(g + ((b.mask[k] as number) * (b.advantages[Math.floor(k / b.shape[1])] as number)) / active), o.name).toBeLessThan(1e-9));
        }
      }),
      RUNS,
    );
  });
});

/** The single pass has its exponentials from a table, true to two units in the last place. */
const ULPS = 4 * Number.EPSILON;

describe('the clip', () => {
  const sum = (options: Parameters<typeof clip>[0]): Objective => make(clip(options), { aggregation: tokenSum() });
  it('never lowers the loss, and with wide bounds is plain importance sampling', () => {
    fc.assert(
      fc.property(batch, (b) => {
        const plain = b.logps.reduce((s, l, k) => s - (b.mask[k] as number) * Math.exp(l - (b.oldLogps[k] as number)) * (b.advantages[Math.floor(k / b.shape[1])] as number), 0);
        const clipped = sum({ epsilon: 0.2, epsilonHigh: 0.28 }).loss(b).loss;
        expect(clipped).toBeGreaterThanOrEqual(plain - 1e-9 * Math.max(1, Math.abs(plain)));
        expect(Math.abs(sum({ epsilon: 1, epsilonHigh: 1e6 }).loss(b).loss - plain)).toBeLessThan(1e-9 * Math.max(1, Math.abs(plain)));
      }),
      RUNS,
    );
  });
  it('gives no gradient where it acts, and the dual clip bounds the loss by c |A|', () => {
    fc.assert(
      fc.property(logp, logp, fc.double({ noNaN: true, min: -3, max: 3 }), (l, old, a) => {
        const r = Math.exp(l - old);
        const one = (o: Objective) => o.loss({ logps: [l], oldLogps: [old], advantages: [a], mask: [1], shape: [1, 1] });
        const { dLogp } = one(sum({ epsilon: 0.2, epsilonHigh: 0.28 }));
        const acts = (a > 0 && r > 1.28) || (a < 0 && r < 0.8);
        if (acts) expect(dLogp[0]).toBe(0);
        else expect(Math.abs((dLogp[0] as number) + r * a)).toBeLessThanOrEqual(ULPS * Math.abs(r * a));
        expect(one(sum({ dualClip: 3 })).loss).toBeLessThanOrEqual(3 * Math.abs(a) + 1e-12);
      }),
      RUNS,
    );
  });
  it('GSPO’s ratio does not care for the order of tokens, and is the token ratio for one token', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(logp, logp), { minLength: 1, maxLength: 6 }), fc.double({ noNaN: true, min: -2, max: 2 }), (tokens, a) => {
        const one = (pairs: [number, number][], level: 'sequence' | 'token') =>
          make(clip({ level }), { aggregation: sequenceMean() }).loss({ logps: pairs.map((p) => p[0]), oldLogps: pairs.map((p) => p[1]), advantages: [a], mask: pairs.map(() => 1), shape: [1, pairs.length] });
        expect(Math.abs(one(tokens, 'sequence').loss - one([...tokens].reverse(), 'sequence').loss)).toBeLessThan(1e-9);
        const first = [tokens[0] as [number, number]];
        const [sequence, token] = [one(first, 'sequence'), one(first, 'token')];
        expect(Math.abs(sequence.loss - token.loss)).toBeLessThanOrEqual(ULPS * Math.abs(token.loss));
        expect(Math.abs((sequence.dLogp[0] as number) - (token.dLogp[0] as number))).toBeLessThanOrEqual(ULPS * Math.abs(token.dLogp[0] as number));
      }),
      RUNS,
    );
  });
  it('the single pass and the general path agree', () => {
    fc.assert(
      fc.property(batch, fc.boolean(), (b, clamped) => {
        const fused = clamped ? poroGrpo() : grpo({ epsilonHigh: 0.3, beta: 0.1 });
        const { fused: _, ...surrogate } = fused.parts.surrogate;
        const general = objective({ ...fused.parts, surrogate });
        const [one, two] = [fused.loss(b), general.loss(b)];
        expect(Math.abs(one.loss - two.loss)).toBeLessThan(1e-9 * Math.max(1, Math.abs(two.loss)));
        one.dLogp.forEach((g, k) => expect(Math.abs(g - (two.dLogp[k] as number))).toBeLessThan(1e-12 * Math.max(1, Math.abs(g))));
        for (const [name, value] of Object.entries(two.metrics)) expect(Math.abs((one.metrics[name] as number) - value), name).toBeLessThan(1e-9 * Math.max(1, Math.abs(value)));
      }),
      RUNS,
    );
  });
});

describe('detached weights', () => {
  it('CISPO’s and VESPO’s gradient is that of weight · logp, with the weight held still', () => {
    fc.assert(
      fc.property(batch, (b) => {
        for (const o of [make(cispoSurrogate({ high: 2 }), { aggregation: tokenSum() }), make(vespo(), { aggregation: tokenSum() })]) {
          const { loss, dLogp } = o.loss(b);
          const byHand = dLogp.reduce((s, g, k) => s + g * (b.logps[k] as number), 0);
          expect(Math.abs(loss - byHand)).toBeLessThan(1e-9 * Math.max(1, Math.abs(loss)));
        }
      }),
      RUNS,
    );
  });
  it('truncated ones stay below their bound, masked ones are 0 or untouched, normalised ones have mean 1', () => {
    const weights = (b: Batch, options: Parameters<typeof importanceWeights>[0]): Float64Array =>
      make(reinforce(), { aggregation: tokenSum(), modifiers: [importanceWeights(options)] as never }).loss({ ...b, advantages: b.advantages.map(() => -1) }).dLogp;
    fc.assert(
      fc.property(batch, fc.constantFrom<'token' | 'sequence'>('token', 'sequence'), (b, level) => {
        const raw = weights(b, { level });
        const cut = weights(b, { level, max: 2 });
        const dropped = weights(b, { level, mode: 'mask', min: 0.5, max: 2 });
        raw.forEach((w, k) => {
          expect(cut[k]).toBe(Math.min(w, 2));
          expect(dropped[k]).toBe(w >= 0.5 && w <= 2 ? w : 0);
        });
        const normalised = weights(b, { level: 'token', max: 2, batchNormalize: true });
        const active = b.mask.reduce((s, m) => s + m, 0);
        if (active > 0) expect(Math.abs(normalised.reduce((s, w) => s + w, 0) / active - 1)).toBeLessThan(1e-9);
      }),
      RUNS,
    );
  });
  it('PolicyRollout’s ratio modes agree when the sampler was the policy-free model', () => {
    fc.assert(
      fc.property(batch, (b) => {
        const same = { ...b, behaviorLogps: b.oldLogps };
        const self = poro(grpo()).loss(same);
        expect(poro(grpo(), { ratioReference: 'behavior' }).loss(same).dLogp).toEqual(self.dLogp);
        const weighted = poro(grpo(), { offPolicyWeight: { level: 'sequence', max: 2 } }).loss(same);
        weighted.dLogp.forEach((g, k) => expect(Math.abs(g - (self.dLogp[k] as number))).toBeLessThan(1e-12 * Math.max(1, Math.abs(g))));
        const still = { ...same, logps: b.oldLogps };
        const [a, d] = [poro(grpo()).loss(still), poro(grpo(), { ratioReference: 'detached' }).loss(still)];
        expect(d.dLogp).toEqual(a.dLogp);
      }),
      RUNS,
    );
  });
  it('a behaviour log-probability given as the old one turns self into behavior', () => {
    fc.assert(
      fc.property(batch, (b) => {
        const origin = b.origin.map(() => 1 as const);
        const wrong = poro(dapo()).loss({ ...b, oldLogps: b.behaviorLogps, origin });
        const meant = poro(dapo(), { ratioReference: 'behavior' }).loss({ ...b, origin });
        expect(meant.dLogp).toEqual(wrong.dLogp);
      }),
      RUNS,
    );
  });
});

describe('estimators', () => {
  it('k2 and k3 are at least 0, k3 is 0 only for equal log-probabilities, k1 is antisymmetric', () => {
    const pair = new Float64Array(2);
    const value = (l: number, ref: number, estimator: 'k1' | 'k2' | 'k3'): number => (klEstimate(l, ref, { estimator }, pair), pair[0] as number);
    fc.assert(
      fc.property(fc.double({ noNaN: true, min: -50, max: 0 }), fc.double({ noNaN: true, min: -50, max: 0 }), (l, ref) => {
        expect(value(l, ref, 'k2')).toBeGreaterThanOrEqual(0);
        expect(value(l, ref, 'k3')).toBeGreaterThanOrEqual(0);
        expect(value(l, l, 'k3')).toBe(0);
        if (Math.abs(l - ref) > 1e-150) expect(value(l, ref, 'k3')).toBeGreaterThan(0);
        expect(value(l, ref, 'k1') + value(ref, l, 'k1')).toBe(0);
      }),
      RUNS,
    );
  });
  it('effective sample sizes are in (0, 1], 1 for equal weights', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true, min: -800, max: 800 }), { minLength: 1, maxLength: 20 }), (logWeights) => {
        const ess = effectiveSampleSize(logWeights);
        expect(ess).toBeGreaterThan(0);
        expect(ess).toBeLessThanOrEqual(1 + 1e-12);
        expect(effectiveSampleSize(logWeights.map(() => logWeights[0] as number))).toBeCloseTo(1, 12);
      }),
      RUNS,
    );
  });
  it('overlong penalties are in [−1, 0] and fall with length', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 900 }), (maxLength, c, length) => {
        const cache = Math.min(c, maxLength);
        const here = overlongPenalty(length, { maxLength, cache });
        expect(here).toBeGreaterThanOrEqual(-1);
        expect(here).toBeLessThanOrEqual(0);
        expect(overlongPenalty(length + 1, { maxLength, cache })).toBeLessThanOrEqual(here);
      }),
      RUNS,
    );
  });
  it('LLDS is 0 on the first step and never lowers the loss', () => {
    const regularised = make(clip(), { sequenceRegularisers: [llds()] });
    fc.assert(
      fc.property(batch, (b) => {
        const input: LossInput = b;
        expect(regularised.loss({ ...input, oldLogps: b.logps }).loss).toBe(make(clip()).loss({ ...input, oldLogps: b.logps }).loss);
        expect(regularised.loss(input).loss).toBeGreaterThanOrEqual(make(clip()).loss(input).loss);
      }),
      RUNS,
    );
  });
});
