/** @file Every surrogate but the clip, token by token and row by row, against its formula written out here in plain words of arithmetic. */
import { describe, expect, it } from 'vitest';
import { bapo, cispoSurrogate, dispo, dppo, dro, gmpo, groupNorm, klCov, mdpo, objective, reinforce, shapedRatio, softGate, tokenSum, trlMetrics, verlMetrics, vespo } from '../index.ts';
import { readBatch } from '../batch/view.ts';
import { balancedBounds } from './bapo.ts';
import type { Surrogate } from './surrogate.ts';

interface Token {
  readonly x: number;
  readonly a: number;
  readonly logp: number;
  readonly old: number;
}
interface Expected {
  readonly loss: number;
  readonly grad: number;
  /** 1 for a token counted as clipped, and as capped. */
  readonly clipped?: boolean;
  readonly capped?: boolean;
}

const clamp = (x: number, low: number, high: number): number => Math.min(Math.max(x, low), high);
/** A log-likelihood with the weight w held still. */
const weighted = (w: number, { a, logp }: Token): Expected => ({ loss: -w * a * logp, grad: -w * a });
/** The divergence of the two-outcome distributions with probabilities q and p. */
const binaryKl = (q: number, p: number): number => q * Math.log(q / p) + (1 - q) * Math.log((1 - q + 1e-8) / (1 - p + 1e-8));
const sigmoid = (y: number): number => 1 / (1 + Math.exp(-y));

const gaps = [-30, -21, -20, -3, -1, -0.4, -0.1, -0.01, 0, 0.01, 0.1, 0.2, 0.4, 1, 2.5];
const beyond = [3, 19.9, 20, 21, 30];
const advantages = [2, 0, -1.5];

/** Rows with each advantage over all gaps; the second and the fifth position are masked and hold NaN. */
function batch(xs: readonly number[]) {
  const columns = xs.length + 2;
  const tokens: (Token | undefined)[] = advantages.flatMap((a, i) => {
    const row = xs.map((x, k): Token => {
      const old = -3 - 0.17 * k - 0.05 * i;
      return { x: x + old - old, a, old, logp: x + old };
    });
    return [...row.slice(0, 1), undefined, ...row.slice(1, 3), undefined, ...row.slice(3)];
  });
  return { tokens, columns, input: { logps: tokens.map((t) => t?.logp ?? NaN), oldLogps: tokens.map((t) => t?.old ?? NaN), mask: tokens.map((t) => (t === undefined ? 0 : 1)), shape: [advantages.length, columns] as [number, number] } };
}

function check(surrogate: Surrogate, xs: readonly number[], formula: (token: Token) => Expected): void {
  const { tokens, columns, input } = batch(xs);
  const expected = tokens.map((token) => (token === undefined ? { loss: 0, grad: 0 } : formula(token)));
  const built = objective({ name: 'test', advantage: groupNorm(), surrogate, aggregation: tokenSum(), metrics: verlMetrics() });
  const active = tokens.filter((token) => token !== undefined);
  const sum = (of: (e: Expected) => number): number => expected.reduce((total, e) => total + of(e), 0);
  const size = Math.max(1, sum((e) => Math.abs(e.loss)));
  for (const given of [advantages, tokens.map((token) => token?.a ?? NaN)]) {
    const { loss, dLogp, metrics } = built.loss({ ...input, advantages: given });
    expect(Math.abs(loss - sum((e) => e.loss))).toBeLessThan(1e-11 * size);
    expected.forEach(({ grad }, k) => expect(Math.abs((dLogp[k] as number) - grad), `token ${k % columns} of row ${Math.floor(k / columns)}`).toBeLessThanOrEqual(1e-11 * Math.max(1, Math.abs(grad))));
    expect(metrics['actor/pg_clipfrac']).toBeCloseTo(sum((e) => (e.clipped === true ? 1 : 0)) / active.length, 6);
    expect(metrics['actor/pg_clipfrac_lower']).toBeCloseTo(sum((e) => (e.capped === true ? 1 : 0)) / active.length, 6);
  }
}

/** Σ of the log-ratio, as verl's ppo_kl shows it. */
function reportedLogRatio(surrogate: Surrogate, xs: readonly number[]): number {
  const { input, tokens } = batch(xs);
  const built = objective({ name: 'test', advantage: groupNorm(), surrogate, aggregation: tokenSum(), metrics: verlMetrics() });
  return -(built.loss({ ...input, advantages }).metrics['actor/ppo_kl'] as number) * tokens.filter((t) => t !== undefined).length;
}

describe('surrogates of independent tokens', () => {
  const all = [...gaps, ...beyond];
  it('reinforce', () => check(reinforce(), all, (t) => weighted(1, t)));
  it('dro', () => {
    for (const beta of [0, 0.5]) check(dro(beta), all, ({ x, a, logp }) => ({ loss: (beta / 2) * x * x - a * logp, grad: beta * x - a }));
    expect(() => dro(-1)).toThrow(/beta/);
  });
  it('dispo', () => {
    for (const [pl, ph, nl, nh] of [[0.2, 10, 1, 100], [0.1, 0.3, 0.4, 0.05], [0, 0, 0, 0]] as const) {
      check(dispo({ positiveLow: pl, positiveHigh: ph, negativeLow: nl, negativeHigh: nh }), all, (t) => {
        const [low, high] = t.a > 0 ? [1 - pl, 1 + ph] : [1 - nl, 1 + nh];
        const r = Math.exp(t.x);
        return { ...weighted(clamp(r, low, high), t), clipped: r < low || r > high };
      });
    }
    for (const name of ['positiveLow', 'positiveHigh', 'negativeLow', 'negativeHigh'] as const) expect(() => dispo({ [name]: -1 })).toThrow(name);
  });
  it('dppo by total variation', () => {
    for (const [low, high, maxRatio] of [[0.2, 0.2, 20], [0.001, 0.02, 1.05], [0.02, 0.001, 1], [0, 0, 1]] as const) {
      check(dppo({ divergence: 'tv', low, high, maxRatio }), all, (t) => {
        const moved = Math.exp(t.logp) - Math.exp(t.old);
        if (t.a > 0 ? moved > high : moved < -low) return { loss: 0, grad: 0, clipped: true };
        const r = Math.exp(clamp(t.x, -20, 20));
        return { ...weighted(Math.min(r, maxRatio), t), capped: r > maxRatio };
      });
    }
    check(dppo({ divergence: 'tv' }), gaps, (t) => (t.a > 0 && Math.exp(t.logp) - Math.exp(t.old) > 0.2 ? { loss: 0, grad: 0, clipped: true } : weighted(Math.exp(Math.max(t.x, -20)), t)));
  });
  it('dppo by KL', () => {
    for (const [low, high, maxRatio] of [[0.2, 0.2, 20], [0.001, 0.02, 1.05], [0.02, 0.001, 1], [0, 0, 1]] as const) {
      check(dppo({ divergence: 'kl', low, high, maxRatio }), gaps, (t) => {
        const [p, q] = [Math.exp(t.logp), Math.exp(t.old)];
        const far = binaryKl(q, p) > (t.a > 0 ? high : low);
        // Only a move in the direction the advantage pushes counts.
        if (far && (t.a > 0 ? p > q : p < q)) return { loss: 0, grad: 0, clipped: true };
        const r = Math.exp(clamp(t.x, -20, 20));
        return { ...weighted(Math.min(r, maxRatio), t), capped: r > maxRatio };
      });
    }
  });
  it('dppo by KL has probabilities next to 1', () => {
    const at = (logp: number, old: number, a: number): number => objective({ name: 'test', advantage: groupNorm(), surrogate: dppo({ divergence: 'kl' }), aggregation: tokenSum() }).loss({ logps: [logp], oldLogps: [old], advantages: [a], mask: [1], shape: [1, 1] }).dLogp[0] as number;
    expect(at(-1e-10, -1e-3, 1)).toBeCloseTo(-Math.exp(1e-3), 8);
    expect(at(-1e-3, -1e-10, -1)).toBeCloseTo(Math.exp(-1e-3), 8);
  });
  it('mdpo', () => {
    for (const t of [0.5, 3]) check(mdpo(t), all, ({ x, a }) => ({ loss: -Math.exp(x) * a + (Math.expm1(-x) + x) / t, grad: -Math.exp(x) * a - Math.expm1(-x) / t }));
    expect(() => mdpo(0)).toThrow(/stepSize/);
  });
  it('the shaped ratio', () => {
    for (const gamma of [0.1, 1]) {
      check(shapedRatio(gamma), all, ({ a, logp }) => {
        const p = Math.exp(logp);
        return { loss: (-p / (p + gamma)) * a, grad: ((-gamma * p) / (p + gamma) ** 2) * a };
      });
    }
    check(shapedRatio(null), all, ({ a, logp }) => ({ loss: -Math.exp(logp) * a, grad: -Math.exp(logp) * a }));
  });
  it('kl-cov puts its penalty on the tokens that vary together most', () => {
    for (const [ratio, coefficient] of [[0.3, 0.1], [2e-4, 1], [0.05, -0.5], [1, 0.1]] as const) {
      const { tokens } = batch(gaps);
      const active = tokens.filter((t) => t !== undefined);
      const mean = (of: (t: Token) => number): number => active.reduce((total, t) => total + of(t), 0) / active.length;
      const [meanA, meanL] = [mean((t) => t.a), mean((t) => t.logp)];
      const byCovariance = active.toSorted((s, t) => (t.a - meanA) * (t.logp - meanL) - (s.a - meanA) * (s.logp - meanL));
      const chosen = new Set(byCovariance.slice(0, Math.max(1, Math.floor(active.length * ratio))).map((t) => `${t.a} ${t.logp}`));
      check(klCov({ ratio, coefficient }) as Surrogate, gaps, (t) => {
        const c = chosen.has(`${t.a} ${t.logp}`) ? coefficient : 0;
        const r = Math.exp(t.x);
        return { loss: -r * t.a + c * Math.abs(t.x), grad: -r * t.a + c * Math.sign(t.x) };
      });
    }
    expect(() => klCov({ ratio: 0 })).toThrow(/ratio/);
    expect(() => klCov({ coefficient: NaN })).toThrow(/coefficient/);
    const kl = objective({ name: 'test', advantage: groupNorm(), surrogate: klCov() as Surrogate, aggregation: tokenSum(), metrics: verlMetrics('kl_cov') }).loss({ logps: [-1, -3, NaN], oldLogps: [-2, -1, NaN], advantages: [1], mask: [1, 1, 0], shape: [1, 3] });
    expect(kl.metrics['actor/ppo_kl']).toBeCloseTo(1.5, 6);
    const none = objective({ name: 'test', advantage: groupNorm(), surrogate: klCov() as Surrogate, aggregation: tokenSum() }).loss({ logps: [NaN], oldLogps: [NaN], advantages: [1], mask: [0], shape: [1, 1] });
    expect(none.loss).toBe(0);
  });
  it('cispo', () => {
    for (const [low, high] of [[0, 5], [0.8, 1.28], [1, 1]] as const) {
      for (const clipCount of ['outside', 'positive'] as const) {
        for (const limit of [Infinity, 20, 0.3]) {
          check(cispoSurrogate({ low, high, clipCount, logRatioClamp: limit === Infinity ? {} : { min: -limit, max: limit } }), all, (t) => {
            const r = Math.exp(clamp(t.x, -limit, limit));
            const counted = clipCount === 'positive' ? r > high && t.a > 0 : r > high || r < low;
            return { ...weighted(clamp(r, low, high), t), clipped: counted };
          });
        }
      }
    }
    // Without options: weights up to 5, any one outside counted.
    check(cispoSurrogate(), all, (t) => ({ ...weighted(Math.min(Math.exp(t.x), 5), t), clipped: Math.exp(t.x) > 5 }));
  });
  it('the soft gate', () => {
    for (const [tauPositive, tauNegative, limit] of [[1, 1.05, Infinity], [2, 0.5, 20], [2, 3, 0.3]] as const) {
      check(softGate({ tauPositive, tauNegative, logRatioClamp: limit === Infinity ? {} : { min: -limit, max: limit } }), gaps, (t) => {
        const x = clamp(t.x, -limit, limit);
        const tau = t.a > 0 ? tauPositive : tauNegative;
        const p = sigmoid(tau * (Math.exp(x) - 1));
        return { loss: (-4 / tau) * p * t.a, grad: x === t.x ? -4 * p * (1 - p) * Math.exp(x) * t.a : 0 };
      });
    }
    // At r = 1 the slope is −A whatever the temperature; far out it is flat and finite.
    check(softGate(), [30], (t) => ({ loss: (-4 / (t.a > 0 ? 1 : 1.05)) * t.a, grad: 0 }));
    expect(() => softGate({ tauPositive: 0 })).toThrow(/tauPositive/);
    expect(() => softGate({ tauNegative: 0 })).toThrow(/tauNegative/);
  });
  it('report the log-ratio they were given, inside their clamps', () => {
    const sum = (of: (t: Token) => number, xs = gaps): number => batch(xs).tokens.reduce((total, t) => total + (t === undefined ? 0 : of(t)), 0);
    for (const surrogate of [reinforce(), dro(0.1), dispo(), mdpo(1), shapedRatio(0.1), cispoSurrogate(), softGate(), gmpo()]) expect(reportedLogRatio(surrogate, gaps), surrogate.name).toBeCloseTo(sum((t) => t.x), 4);
    for (const surrogate of [dppo({ divergence: 'tv' }), dppo({ divergence: 'kl' })]) expect(reportedLogRatio(surrogate, gaps), surrogate.name).toBeCloseTo(sum((t) => clamp(t.x, -20, 20)), 4);
    for (const surrogate of [cispoSurrogate({ logRatioClamp: { min: -2, max: 1 } }), softGate({ logRatioClamp: { min: -2, max: 1 } })]) expect(reportedLogRatio(surrogate, gaps), surrogate.name).toBeCloseTo(sum((t) => clamp(t.x, -2, 1)), 4);
    for (const level of ['sequence'] as const) {
      expect(reportedLogRatio(cispoSurrogate({ level }), gaps)).toBeCloseTo(sum((t) => t.x), 4);
      expect(reportedLogRatio(softGate({ level }), gaps)).toBeCloseTo(sum((t) => t.x), 4);
    }
  });
  it('stay finite, with the right sign, where a ratio has no double', () => {
    for (const surrogate of [reinforce(), dro(0.5), dispo(), dppo({ divergence: 'tv' }), mdpo(1), shapedRatio(0.1), klCov() as Surrogate, cispoSurrogate(), softGate(), gmpo(), vespo()]) {
      const built = objective({ name: 'test', advantage: groupNorm(), surrogate, aggregation: tokenSum(), metrics: verlMetrics() });
      for (const x of [-1e308, -800, 800, 1e308]) {
        const { loss, dLogp, metrics } = built.loss({ logps: [x, -1], oldLogps: [-x, -1], advantages: [1e300], mask: [1, 1], shape: [1, 2] });
        for (const value of [loss, ...dLogp, ...Object.values(metrics)]) expect(Number.isFinite(value), surrogate.name).toBe(true);
      }
    }
  });
});

/** Two rows of three active tokens (means of the log-ratio 0.2 and −0.3) and a masked one; a third row is all masked. */
const rows = {
  logps: [-1, -2, -0.5, NaN, -1, -1.5, NaN, -3, NaN, NaN, NaN, NaN],
  oldLogps: [-1.5, -2.2, -0.4, NaN, -0.5, -1.4, NaN, -2.7, NaN, NaN, NaN, NaN],
  mask: [1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0],
  shape: [3, 4] as [number, number],
};
const meanGaps = [0.2, -0.3];
const built = (surrogate: Surrogate) => objective({ name: 'test', advantage: groupNorm(), surrogate, aggregation: tokenSum(), metrics: trlMetrics() });
const signs = [[2, -1.5, 1], [-2, 1.5, 1], [0, 0, 0]];

describe('surrogates of whole rows', () => {
  it('cispo of sequences', () => {
    for (const a of signs) {
      for (const [low, high] of [[0, 5], [0.9, 1.1]] as const) {
        for (const clipCount of ['outside', 'positive'] as const) {
          const { loss, dLogp, metrics } = built(cispoSurrogate({ level: 'sequence', low, high, clipCount })).loss({ ...rows, advantages: a });
          const weights = meanGaps.map((z) => clamp(Math.exp(z), low, high));
          let total = 0;
          rows.mask.forEach((m, k) => {
            const i = Math.floor(k / 4);
            const g = m === 0 ? 0 : -(weights[i] as number) * (a[i] as number);
            expect(dLogp[k]).toBeCloseTo(g, 12);
            if (m === 1) total += g * (rows.logps[k] as number);
          });
          expect(loss).toBeCloseTo(total, 12);
          const counted = meanGaps.filter((z, i) => (clipCount === 'positive' ? Math.exp(z) > high && (a[i] as number) > 0 : Math.exp(z) > high || Math.exp(z) < low));
          expect(metrics['cispo_clip_ratio']).toBeCloseTo(counted.length / 3, 12);
        }
      }
    }
  });
  it('the soft gate of sequences', () => {
    for (const a of signs) {
      const { loss, dLogp } = built(softGate({ level: 'sequence', tauPositive: 2, tauNegative: 3 })).loss({ ...rows, advantages: a });
      let total = 0;
      meanGaps.forEach((z, i) => {
        const tau = (a[i] as number) > 0 ? 2 : 3;
        const p = sigmoid(tau * (Math.exp(z) - 1));
        total += ((3 * -4) / tau) * p * (a[i] as number);
        // Three equal losses, each of which a third of every token moves.
        for (let t = 0; t < 4; t++) expect(dLogp[4 * i + t]).toBeCloseTo(rows.mask[4 * i + t] === 1 ? -4 * p * (1 - p) * Math.exp(z) * (a[i] as number) : 0, 12);
      });
      expect(loss).toBeCloseTo(total, 12);
    }
  });
  it('gmpo', () => {
    for (const a of signs) {
      for (const [epsilon, epsilonHigh, countEpsilon] of [[0.4, 0.4, 0], [0.3, 0.2, 0], [0.15, 0.45, 1e-8], [0.5, 0.5, 0.5]] as const) {
        const { loss, dLogp } = built(gmpo({ epsilon, epsilonHigh, countEpsilon })).loss({ ...rows, advantages: a });
        let total = 0;
        for (let i = 0; i < 2; i++) {
          const at = [0, 1, 2, 3].map((t) => 4 * i + t).filter((k) => rows.mask[k] === 1);
          const gapsOfRow = at.map((k) => (rows.logps[k] as number) - (rows.oldLogps[k] as number));
          const used = gapsOfRow.map((x) => ((a[i] as number) > 0 ? Math.min(x, epsilonHigh) : (a[i] as number) < 0 ? Math.max(x, -epsilon) : 0));
          const count = at.length + countEpsilon;
          const value = -((a[i] as number) * at.length) / count * Math.exp(used.reduce((s, x) => s + x, 0) / count);
          total += at.length * value;
          at.forEach((k, n) => expect(dLogp[k]).toBeCloseTo(used[n] === gapsOfRow[n] && a[i] !== 0 ? (at.length * value) / count : 0, 12));
        }
        for (const [k, m] of rows.mask.entries()) if (m === 0) expect(dLogp[k]).toBe(0);
        expect(loss).toBeCloseTo(total, 12);
      }
    }
    // On-policy too, a token without advantage has no gradient.
    expect(Array.from(built(gmpo()).loss({ logps: [-1, -1], oldLogps: [-1, -1], advantages: [0, 2], mask: [1, 1], shape: [1, 2] }).dLogp)).toEqual([0, -1]);
    // The defaults are the paper's 0.4 on either side; like verl, every log-ratio outside is counted, by the sign of A.
    const { metrics, dLogp } = objective({ name: 'gmpo', advantage: groupNorm(), surrogate: gmpo(), aggregation: tokenSum(), metrics: verlMetrics('geo_mean') }).loss({ logps: [0.5, -0.2, 0.3, 0.5, -0.5, -0.3], oldLogps: [0, 0, 0, 0, 0, 0], advantages: [1, -1], mask: [1, 1, 1, 1, 1, 1], shape: [2, 3] });
    expect(dLogp[0]).toBe(0);
    expect(dLogp[4]).toBe(0);
    for (const k of [1, 2, 3, 5]) expect(dLogp[k]).not.toBe(0);
    expect(metrics['actor/pg_clipfrac']).toBeCloseTo(1 / 6, 6);
    expect(metrics['actor/pg_clipfrac_lower']).toBeCloseTo(2 / 6, 6);
    expect(metrics['actor/ppo_kl']).toBeCloseTo(-0.3 / 6, 6);
    expect(built(gmpo({ countEpsilon: 1 })).loss({ ...rows, advantages: [0, 0, 1] }).loss).toBe(0);
  });
  it('gmpo with an advantage a token takes their mean, each with its own clip', () => {
    // Where the advantage is 0 the token neither counts in the ratio nor has a gradient, whether it is inside the bounds or not.
    const one = objective({ name: 'gmpo', advantage: groupNorm(), surrogate: gmpo({ epsilon: 0.2, epsilonHigh: 0.3 }), aggregation: tokenSum(), metrics: verlMetrics('geo_mean') });
    const { loss, dLogp, metrics } = one.loss({ logps: [0.5, -0.5, 0.1, 0.1, 0.7], oldLogps: [0, 0, 0, 0, 0], advantages: [3, -1, 1, 0, 0], mask: [1, 1, 1, 1, 1], shape: [1, 5] });
    const value = -(3 / 5) * Math.exp((0.3 - 0.2 + 0.1) / 5);
    expect(loss).toBeCloseTo(5 * value, 12);
    [0, 0, value, 0, 0].forEach((g, k) => expect(dLogp[k]).toBeCloseTo(g, 12));
    expect(metrics['actor/pg_clipfrac']).toBeCloseTo(1 / 5, 6);
    expect(metrics['actor/pg_clipfrac_lower']).toBeCloseTo(1 / 5, 6);
  });
  it('vespo', () => {
    const phi = (w: number, k: number, lambda: number): number => Math.exp(lambda) * w ** k * Math.exp(-lambda * w);
    for (const [kPositive, lambdaPositive, kNegative, lambdaNegative] of [[2, 3, 3, 2], [1, 0.5, 0.7, 1.5]] as const) {
      for (const extra of [0, 0.3]) {
        const surrogate = vespo({ kPositive, lambdaPositive, kNegative, lambdaNegative, ...(extra === 0 ? {} : { samplerLogWeight: (_, i) => (i === 1 ? extra : 0) }) });
        for (const a of signs) {
          const { loss, dLogp, metrics } = built(surrogate).loss({ ...rows, advantages: a });
          let total = 0;
          let sum = 0;
          a.forEach((advantage, i) => {
            const w = Math.exp(3 * (meanGaps[i] ?? 0) + (i === 1 ? extra : 0));
            const weight = advantage >= 0 ? phi(w, kPositive, lambdaPositive) : phi(w, kNegative, lambdaNegative);
            sum += weight;
            for (let k = 4 * i; k < 4 * i + 4; k++) {
              expect(dLogp[k]).toBeCloseTo(rows.mask[k] === 1 ? -weight * advantage : 0, 12);
              if (rows.mask[k] === 1) total -= weight * advantage * (rows.logps[k] as number);
            }
          });
          expect(loss).toBeCloseTo(total, 12);
          expect(metrics['vespo/phi_seq_mean']).toBeCloseTo(sum / 3, 12);
        }
      }
    }
    // The defaults, and the clamps: each token at ±20, the row at log 1e−8 and 20.
    const at = (xs: number[], a: number, options = {}) => built(vespo(options)).loss({ logps: xs, oldLogps: xs.map(() => 0), advantages: [a], mask: xs.map(() => 1), shape: [1, xs.length] }).dLogp[0] as number;
    expect(at([0.5], 1)).toBeCloseTo(-phi(Math.exp(0.5), 2, 3), 12);
    expect(at([0.5], -1)).toBeCloseTo(phi(Math.exp(0.5), 3, 2), 12);
    expect(at([25, -20.5], 1)).toBeCloseTo(-1, 12);
    expect(at([-25], 1, { kPositive: 0.1, lambdaPositive: 1 })).toBeCloseTo(-phi(1e-8, 0.1, 1), 12);
    expect(at([20, 5], 1, { kPositive: 1, lambdaPositive: 1e-9 })).toBeCloseTo(0, 12);
    expect(Math.abs(at([15, 9], 1, { kPositive: 2426, lambdaPositive: 0 }) / -Math.exp(1e-4 + 2426 * 20 - 1e-4 * Math.exp(20)) - 1)).toBeLessThan(1e-6);
    expect(at([0.5], 1, { kPositive: 1, lambdaPositive: -5 })).toBeCloseTo(-phi(Math.exp(0.5), 1, 1e-4), 12);
    for (const name of ['kPositive', 'lambdaPositive', 'kNegative', 'lambdaNegative']) expect(() => vespo({ [name]: NaN })).toThrow(name);
    // An advantage a token: each side has its own weight, and the metric is their mean.
    const mixed = built(vespo()).loss({ logps: [0.2, 0.1], oldLogps: [0, 0], advantages: [1, -1], mask: [1, 1], shape: [1, 2] });
    const w = Math.exp(0.2 + 0.1);
    expect(mixed.dLogp[0]).toBeCloseTo(-phi(w, 2, 3), 12);
    expect(mixed.dLogp[1]).toBeCloseTo(phi(w, 3, 2), 12);
    expect(mixed.metrics['vespo/phi_seq_mean']).toBeCloseTo((phi(w, 2, 3) + phi(w, 3, 2)) / 2, 12);
  });
});

describe('bapo', () => {
  const view = (a: number[], ratios: number[], mask = ratios.map(() => 1)) => readBatch({ logps: ratios.map((r) => Math.log(r) - 1), oldLogps: ratios.map(() => -1), advantages: a, mask, shape: a.length === ratios.length ? [1, ratios.length] : [a.length, ratios.length / a.length] });
  const ranges = { target: 1, low: [0.6, 0.8] as const, high: [1.2, 2] as const, step: 0.05 };
  it('weighs both sides as its formula does', () => {
    // Σ_{A≥0} min(r, h) A against target · Σ_{A<0} max(r, l) |A|, at bounds wide enough for one step of each kind.
    const cases = [
      { a: [1, -1], r: [1, 1], target: 1, expected: [0.6, 1.2] },
      // 1 against 1.001 at any bound: to both ends.
      { a: [1, -1.001], r: [1, 1], target: 1, expected: [0.8, 2] },
      // Only the lower bound matters: 0.65 · 1 is reached by nothing, 0.5 < l counts as l.
      { a: [0.7, -1], r: [1, 0.5], target: 1, expected: [0.6, 1.2] },
      { a: [2, -1], r: [1, 1.5], target: 1.3, expected: [0.6, 1.2] },
      { a: [2, -1], r: [1, 1.5], target: 1.4, expected: [0.8, 2] },
      // min(1.5, h) · 2 ≥ 1.4 · 2 once h ≥ 1.4.
      { a: [2, -2], r: [1.5, 1.4], target: 1, expected: [0.8, 1.4] },
    ];
    for (const { a, r, target, expected } of cases) {
      const { low, high } = balancedBounds(view(a, r), { ...ranges, target });
      expect(low).toBeCloseTo(expected[0] as number, 9);
      expect(high).toBeCloseTo(expected[1] as number, 9);
    }
    // Masked tokens and rows with one advantage.
    expect(balancedBounds(view([1, -9], [1, 1], [1, 0]), ranges)).toEqual({ low: 0.6, high: 1.2 });
    expect(balancedBounds(view([1, -0.6], [1, 1, 1, 1], [1, 0, 1, 1]), ranges)).toEqual({ low: 0.8, high: 2 });
    expect(balancedBounds(view([0, -1], [1, 1]), ranges)).toEqual({ low: 0.8, high: 2 });
    expect(balancedBounds(view([-1, 0], [1, 1], [0, 1]), ranges)).toEqual({ low: 0.6, high: 1.2 });
  });
  it('raises a bound by steps, not beyond its end', () => {
    expect(balancedBounds(view([1, -5], [1, 1]), { target: 1, low: [0.6, 0.63], high: [1.2, 1.27], step: 0.05 })).toEqual({ low: 0.63, high: 1.27 });
    expect(balancedBounds(view([1, -5], [1, 1]), { target: 1, low: [0.6, 0.6], high: [1.2, 1.2], step: 0.05 })).toEqual({ low: 0.6, high: 1.2 });
  });
  it('is dual-clip PPO with the bounds it found', () => {
    const run = (x: number, a: number, options = {}) => objective({ name: 'bapo', advantage: groupNorm(), surrogate: bapo(options) as Surrogate, aggregation: tokenSum() }).loss({ logps: [x], oldLogps: [0], advantages: [a], mask: [1], shape: [1, 1] });
    expect(run(Math.log(1.3), 1).loss).toBeCloseTo(-1.2, 12);
    // A batch of negatives only never balances: the bounds go to 0.8 and 2.
    expect(run(Math.log(0.7), -1).loss).toBeCloseTo(0.8, 12);
    expect(run(Math.log(0.9), -1).dLogp[0]).toBeCloseTo(0.9, 12);
    expect(run(Math.log(4), -1).loss).toBeCloseTo(3, 12);
    expect(run(Math.log(4), -1, { dualClip: 5 }).loss).toBeCloseTo(4, 12);
    expect(run(Math.log(1.5), 1, { high: [1.4, 1.4] }).loss).toBeCloseTo(-1.4, 12);
    expect(run(Math.log(0.4), -1, { low: [0.5, 0.5] }).loss).toBeCloseTo(0.5, 12);
    expect(run(25, -1, { dualClip: 1e300 }).loss).toBeCloseTo(Math.exp(20), -2);
    const counted = objective({ name: 'bapo', advantage: groupNorm(), surrogate: bapo() as Surrogate, aggregation: tokenSum() }).loss({ logps: [0.5, 0.5, 0, 0], oldLogps: [0, 0, 0, 0], advantages: [1], mask: [1, 1, 1, 1], shape: [1, 4] });
    expect(counted.metrics['clip_ratio/region_mean']).toBe(0.5);
    for (const [name, value] of [['target', -1], ['step', 0], ['dualClip', 0.5]] as const) expect(() => bapo({ [name]: value })).toThrow(name);
    expect(() => bapo({ low: [0.8, 0.6] })).toThrow(/low, high/);
    expect(() => bapo({ high: [2, 1.2] })).toThrow(/low, high/);
    expect(() => bapo({ low: [0.7, 0.7], high: [1.3, 1.3] })).not.toThrow();
  });
});
