/** @file The metrics of each library, from counts made by hand on a batch with a masked row. */
import { describe, expect, it } from 'vitest';
import { type LossInput, type MetricStyle, clip, easyR1Metrics, entropyBonus, groupNorm, klCov, klPenalty, objective, offPolicyMetrics, openRlhfMetrics, reinforce, samplerWeightMetrics, sequenceMean, trlMetrics, verlMetrics, type ObjectiveParts, type Surrogate } from '../index.ts';
import { readBatch } from '../batch/view.ts';
import type { ImportanceOptions } from '../weights/importance.ts';

// Row 0 has A = 1 and one of two tokens above; row 1 A = −1, one of three below and one capped; row 2 is masked.
const gaps = [0.5, -0.5, NaN, -0.5, 0.1, 2, NaN, NaN, NaN];
const logps = [-1, -2, NaN, -3, -0.5, -0.25, NaN, NaN, NaN];
const mask = [1, 1, 0, 1, 1, 1, 0, 0, 0];
const input: LossInput = { logps, oldLogps: logps.map((l, k) => l - (gaps[k] as number)), refLogps: logps.map((l) => l + 0.5), advantages: [1, -1, 1], mask, shape: [3, 3] };
const entropy = [1, 2, NaN, 3, 4, 6, NaN, NaN, NaN];
const run = (metrics: MetricStyle, parts: Partial<ObjectiveParts> = {}, more: Partial<LossInput> = {}) =>
  objective({ name: 'test', advantage: groupNorm(), surrogate: clip({ epsilon: 0.2, dualClip: 3 }), aggregation: sequenceMean(), metrics, ...parts }).loss({ ...input, ...(more.logps === undefined ? {} : { refLogps: undefined }), ...more }).metrics;
const near = (actual: Record<string, number>, expected: Record<string, number>, digits = 6): void => {
  expect(Object.keys(actual).toSorted()).toEqual(Object.keys(expected).toSorted());
  for (const [name, value] of Object.entries(expected)) expect(actual[name], name).toBeCloseTo(value, digits);
};
const k3 = Math.exp(0.5) - 1.5;
const kl = { regularisers: [klPenalty(0.1)] };
/** Two rows with tokens, each the mean of its tokens, over three rows. */
const klAggregated = (2 * k3) / 3;

describe('TRL', () => {
  const clipRatios = { 'clip_ratio/low_mean': 0.2, 'clip_ratio/high_mean': 0.2, 'clip_ratio/region_mean': 0.4, 'clip_ratio/low_min': 0, 'clip_ratio/high_max': 0.5 };
  it('counts tokens, and rows by their share', () => {
    near(run(trlMetrics()), clipRatios);
    near(run(trlMetrics(), kl, { entropy }), { ...clipRatios, kl: k3, entropy: 16 / 5 });
    const bonus = run(trlMetrics(), { entropyBonus: entropyBonus(0.1) }, { entropy });
    expect(bonus).toMatchObject({ entropy_coef: 0.1 });
    expect(bonus['policy_loss']).toBeCloseTo(objective({ name: 'test', advantage: groupNorm(), surrogate: clip({ dualClip: 3 }), aggregation: sequenceMean() }).loss(input).loss, 12);
    near(run(trlMetrics(), { surrogate: reinforce() }), {});
  });
  it('takes the least and the greatest share, whichever row has it', () => {
    for (const order of [[0.9, 0.5, 0.5], [0.5, 0.5, 0.9]]) {
      // Shares below 1 − ε of rows of two tokens: one, both and both, or the other way round.
      const xs = order.flatMap((share) => (share === 0.9 ? [-1, 0] : [-1, -1]));
      const least = run(trlMetrics(), {}, { logps: xs, oldLogps: xs.map(() => 0), advantages: [-1, -1, -1], mask: xs.map(() => 1), shape: [3, 2] });
      expect([least['clip_ratio/low_min'], least['clip_ratio/low_mean']]).toEqual([0.5, 5 / 6]);
      const ups = xs.map((x) => -x);
      expect(run(trlMetrics(), {}, { logps: ups, oldLogps: ups.map(() => 0), advantages: [1, 1, 1], mask: ups.map(() => 1), shape: [3, 2] })['clip_ratio/high_max']).toBe(1);
    }
  });
  it('counts a masked row only where a row has one ratio', () => {
    const low = { logps: [-1, -1], oldLogps: [0, 0], advantages: [-1, -1], mask: [1, 0], shape: [2, 1] as [number, number] };
    expect(run(trlMetrics(), {}, low)).toMatchObject({ 'clip_ratio/low_min': 1, 'clip_ratio/low_mean': 1 });
    expect(run(trlMetrics(), { surrogate: clip({ level: 'sequence' }) }, low)).toMatchObject({ 'clip_ratio/low_min': 0, 'clip_ratio/low_mean': 0.5 });
    // Nothing at all: 0, not NaN.
    expect(run(trlMetrics(), {}, { ...low, mask: [0, 0] })).toMatchObject({ 'clip_ratio/low_min': 0, 'clip_ratio/high_max': 0, 'clip_ratio/region_mean': 0 });
  });
  it('rounds to float32 where TRL does', () => {
    expect(run(trlMetrics({ float32: true }))['clip_ratio/low_mean']).toBe(Math.fround(0.2));
    expect(run(trlMetrics())['clip_ratio/low_mean']).toBe(0.2);
  });
});

describe('verl', () => {
  const all = { 'actor/pg_clipfrac': 0.4, 'actor/pg_clipfrac_lower': 0.2 };
  const ppoKl = -(0.5 - 0.5 - 0.5 + 0.1 + 2) / 5;
  it('reports what each loss mode has', () => {
    for (const mode of ['vanilla', 'gspo', 'sapo', 'cispo', 'geo_mean', 'dppo_tv', 'dppo_kl']) near(run(verlMetrics(mode)), { ...all, 'actor/ppo_kl': ppoKl });
    near(run(verlMetrics()), { ...all, 'actor/ppo_kl': ppoKl });
    near(run(verlMetrics('gpg')), {});
    for (const mode of ['reinforce', 'dro']) near(run(verlMetrics(mode)), { 'actor/ppo_kl': ppoKl });
    near(run(verlMetrics('kl_cov'), { surrogate: klCov() as Surrogate }), { 'actor/ppo_kl': 3.6 / 5 });
    near(run(verlMetrics(), kl, { entropy }), { ...all, 'actor/ppo_kl': ppoKl, 'actor/kl_loss': klAggregated, 'actor/entropy': 16 / 5 });
  });
});

describe('EasyR1', () => {
  it('averages −logp over tokens or over rows', () => {
    const clipped = { pg_clipfrac_higher: 0.4, pg_clipfrac_lower: 0.2, ppo_kl: -1.6 / 5 };
    near(run(easyR1Metrics('token')), { ...clipped, entropy_loss: 6.75 / 5 });
    near(run(easyR1Metrics('seq')), { ...clipped, entropy_loss: (1.5 + 3.75 / 3) / 3 });
    near(run(easyR1Metrics('seq'), kl), { ...clipped, entropy_loss: (1.5 + 3.75 / 3) / 3, kl_loss: klAggregated });
    near(run(easyR1Metrics('token'), { surrogate: reinforce() }), { ppo_kl: -1.6 / 5, entropy_loss: 6.75 / 5 });
  });
});

describe('OpenRLHF', () => {
  it('reports the sampler’s gap only where it is corrected', () => {
    const behaviorLogps = (input.oldLogps as number[]).map((o, k) => o + 0.1 * k);
    near(run(openRlhfMetrics({ samplerGap: false }), {}, { behaviorLogps }), { clip_ratio: 0.4, ppo_kl: -1.6 / 5 });
    near(run(openRlhfMetrics({ samplerGap: true }), kl, { behaviorLogps }), { clip_ratio: 0.4, ppo_kl: -1.6 / 5, vllm_kl: (0.1 * (0 + 1 + 3 + 4 + 5)) / 5, kl: k3 });
  });
});

describe('the sampler', () => {
  const d = [0.7, -0.9, NaN, 0.2, -0.1, 0.4, NaN, NaN, NaN];
  const view = readBatch({ ...input, oldLogps: mask.map((m) => (m === 1 ? -1 : NaN)), behaviorLogps: d.map((x) => -1 - x) });
  const active = d.filter((x) => x === x);
  const report = (options: ImportanceOptions) => samplerWeightMetrics(view, options);
  const sums = (weights: readonly number[], raw: readonly number[], upper: number, lower: number, units: number, ends: readonly number[]) => {
    const cut = weights.map((w) => Math.min(w, upper));
    const mean = (xs: readonly number[]): number => xs.reduce((s, x) => s + x, 0) / weights.length;
    const name = (x: string): string => `rollout_corr/rollout_is_${x}`;
    return {
      [name('mean')]: mean(weights),
      [name('max')]: Math.max(...ends),
      [name('min')]: Math.min(...ends),
      [name('std')]: Math.sqrt(mean(cut.map((w) => w * w)) - mean(cut) ** 2),
      [name('eff_sample_size')]: mean(cut) ** 2 / mean(cut.map((w) => w * w)),
      [name('ratio_fraction_high')]: raw.filter((w) => w > upper).length / units,
      [name('ratio_fraction_low')]: raw.filter((w) => w < lower).length / units,
    };
  };
  it('by tokens', () => {
    const raw = active.map(Math.exp);
    const capped = raw.map((w) => Math.min(w, 1.4));
    near(report({ max: 1.4 }), sums(capped, raw, 1.4, 1 / 1.4, 5, capped), 6);
    near(report({ max: 1.4, min: 0.95 }), sums(raw.map((w) => Math.min(Math.max(w, 0.95), 1.4)), raw, 1.4, 0.95, 5, raw.map((w) => Math.min(Math.max(w, 0.95), 1.4))), 6);
    near(report({ mode: 'mask', max: 1.4, min: 0.5 }), sums(raw.map((w) => (w > 1.4 || w < 0.5 ? 0 : w)), raw, 1.4, 0.5, 5, raw.map((w) => (w > 1.4 || w < 0.5 ? 0 : w))), 6);
  });
  it('by sequences, the masked one with a weight of 1', () => {
    const rows = [Math.exp(-0.2), Math.exp(0.5), 1];
    const weights = [0, 0, 1, 1, 1].map((i) => Math.min(rows[i] as number, 1.2));
    near(report({ level: 'sequence', max: 1.2 }), sums(weights, rows, 1.2, 1 / 1.2, 3, rows), 6);
    near(report({ level: 'sequence', max: 1.2, min: 0.9 }), sums([0.9, 0.9, 1.2, 1.2, 1.2], rows, 1.2, 0.9, 3, rows), 6);
  });
  it('counts no weight that stands on its bound', () => {
    const same = readBatch({ ...input, behaviorLogps: input.oldLogps });
    for (const level of ['token', 'sequence'] as const) expect(samplerWeightMetrics(same, { level, min: 1, max: 1 })).toMatchObject({ 'rollout_corr/rollout_is_ratio_fraction_high': 0, 'rollout_corr/rollout_is_ratio_fraction_low': 0 });
  });
  it('not without tokens, or without its log-probabilities', () => {
    expect(samplerWeightMetrics(readBatch({ ...input, behaviorLogps: input.oldLogps, mask: mask.map(() => 0) }), {})).toEqual({});
    expect(offPolicyMetrics(readBatch(input))).toEqual({});
    // Of weights that are all masked nothing is effective.
    expect(report({ mode: 'mask', min: 50, max: 60 })['rollout_corr/rollout_is_eff_sample_size']).toBe(0);
  });
});
