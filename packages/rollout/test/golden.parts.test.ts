import { describe, expect, it } from 'vitest';
import { fromTrl, fromVerl, objective, groupNorm, importanceWeights, offPolicySequenceMask, overlongPenalty, poro, poroDapo, poroGrpo, reinforce, teacherReweight, tokenMean, updateAdaptiveKl, vespo, type Modifier, type PolicyRolloutOptions, clip, sequenceMean, constantLength, tokenSum } from '../src/index.ts';
import { rowWeight, tokenWeight } from '../src/weights/importance.ts';
import { readBatch } from '../src/batch/view.ts';
import { rejectionMask, type RejectionOption } from '../src/selectors/rejection.ts';
import { CLAMP_20 } from '../src/surrogates/logRatio.ts';
import { golden, largestDifference, lossInput } from './golden.ts';

const TOLERANCE = 1e-9;

describe("verl's rollout correction", () => {
  for (const c of golden.verl_rollout_correction) {
    const input = lossInput(c.data);
    if (c.kind === 'weights') {
      it(`${c.data} ${c.level} ${c.threshold} ${c.batch_normalize}`, () => {
        const built = fromVerl({ rollout_correction: { rollout_is: c.level, rollout_is_threshold: c.threshold, rollout_is_batch_normalize: c.batch_normalize } });
        const { metrics } = built.loss(input);
        for (const [name, value] of Object.entries(c.metrics)) expect(Math.abs((metrics[`rollout_corr/${name}`] ?? NaN) - value), name).toBeLessThanOrEqual(TOLERANCE);
        // The weights themselves, through REINFORCE with A = 1 and a sum: dLogp = −w.
        const weights = fromVerl({ loss_mode: 'gpg', loss_agg_mode: 'token-sum', rollout_is: c.level, rollout_is_threshold: c.threshold, rollout_is_batch_normalize: c.batch_normalize });
        const { dLogp } = weights.loss({ ...input, advantages: input.advantages.map(() => 1) });
        expect(largestDifference(dLogp.map((g) => -g), c.weights.flat())).toBeLessThanOrEqual(TOLERANCE);
      });
    } else {
      it(`${c.data} ${c.option} ${c.threshold}`, () => {
        const metrics: Record<string, number> = {};
        const [first, second] = String(c.threshold).split('_').map(Number) as [number, number | undefined];
        const rule = second === undefined ? { option: c.option as RejectionOption, upper: first } : { option: c.option as RejectionOption, lower: first, upper: second };
        const keep = rejectionMask([rule])(readBatch(input), metrics);
        expect(Array.from(keep)).toEqual(c.mask.flat());
        expect(metrics['rollout_corr/rollout_rs_masked_fraction']).toBeCloseTo(c.masked_fraction, 12);
        const { dLogp } = fromVerl({ loss_mode: 'gpg', rollout_rs: c.option, rollout_rs_threshold: c.threshold }).loss(input);
        for (const [k, m] of c.mask.flat().entries()) if (m === 0) expect(dLogp[k]).toBe(0);
      });
    }
  }
});

describe("TRL's sampler weights", () => {
  for (const { data, mode, clip_min, clip_max, ratio } of golden.trl_vllm_importance_sampling) {
    it(`${data} ${mode} ${clip_min} ${clip_max}`, () => {
      const view = readBatch(lossInput(data));
      const options = { level: mode.startsWith('token') ? ('token' as const) : ('sequence' as const), mode: mode.endsWith('mask') ? ('mask' as const) : ('truncate' as const), min: clip_min ?? undefined, max: clip_max ?? undefined };
      ratio.forEach((row, i) => {
        const shared = rowWeight(view, i, options);
        if (options.level === 'sequence') expect(Math.abs(shared - (row[0] as number))).toBeLessThanOrEqual(TOLERANCE);
        else row.forEach((w, t) => view.mask[i * view.columns + t] && expect(Math.abs(tokenWeight(view, i * view.columns + t, shared, options) - w)).toBeLessThanOrEqual(TOLERANCE));
      });
    });
  }
});

describe('aggregations', () => {
  for (const { loss, mask, mode, loss_scale_factor, value } of golden.agg_loss_simple) {
    it(`${mode} ${loss_scale_factor}`, () => {
      // DRO with β = 0 and A = −1 has the token loss logp: any matrix can be aggregated through it.
      const parts = { 'token-mean': tokenMean(), 'token-sum': tokenSum(), 'seq-mean-token-sum': sequenceMean({ tokens: 'sum', over: 'non-empty' }), 'seq-mean-token-mean': sequenceMean({ over: 'non-empty', epsilon: 1e-8 }), 'seq-mean-token-sum-norm': constantLength({ over: 'non-empty', maxCompletionLength: loss_scale_factor ?? undefined }) };
      const built = objective({ name: 'agg', advantage: groupNorm(), surrogate: reinforce(), aggregation: parts[mode as keyof typeof parts] });
      const result = built.loss({ logps: loss.flat(), oldLogps: loss.flat(), advantages: loss.map(() => -1), mask: mask.flat(), shape: [loss.length, (loss[0] as number[]).length] });
      expect(Math.abs(result.loss - value)).toBeLessThanOrEqual(TOLERANCE);
    });
  }
});

describe('single parts', () => {
  it('overlong penalties of the three libraries', () => {
    for (const { length, max_len, cache, trl, verl_formula, openrlhf } of golden.overlong) {
      const options = { maxLength: max_len, cache };
      expect(overlongPenalty(length, options)).toBeCloseTo(trl, 12);
      expect(overlongPenalty(length, options)).toBeCloseTo(openrlhf, 12);
      expect(overlongPenalty(length, { ...options, unbounded: true })).toBeCloseTo(verl_formula, 12);
    }
  });
  it("TRL's high-entropy mask", () => {
    const { entropies, mask, cases } = golden.high_entropy_mask;
    const zeros = entropies.flat().map(() => 0);
    for (const { top_entropy_quantile, keep } of cases) {
      const { dLogp } = fromTrl({ loss_type: 'cispo', epsilon_high: 5, top_entropy_quantile }).loss({ logps: zeros, oldLogps: zeros, entropy: entropies.flat(), advantages: [1, 1], mask: mask.flat(), shape: [2, 6] });
      expect(Array.from(dLogp, (g) => (g === 0 ? 0 : 1))).toEqual(keep.flat());
    }
  });
  it("DeepSeek's off-policy sequence mask", () => {
    for (const { advantage, logp, sampling, threshold, keep } of golden.off_policy_sequence_mask) {
      const built = objective({ name: 'opsm', advantage: groupNorm(), surrogate: reinforce(), modifiers: [offPolicySequenceMask(threshold)], aggregation: tokenSum() });
      const { dLogp } = built.loss({ logps: logp, oldLogps: logp, behaviorLogps: sampling, advantages: [advantage], mask: [1, 1, 1, 1], shape: [1, 4] });
      const expected = (keep[0] as number[])[0] as number;
      expect(Array.from(dLogp)).toEqual(Array<number>(4).fill(0 - advantage * expected));
    }
  });
  it("VESPO's weight", () => {
    for (const { log_ratio, mask, advantages, phi } of golden.vespo_gamma_weights) {
      const rows = log_ratio.length;
      const columns = (log_ratio[0] as number[]).length;
      const built = objective({ name: 'vespo', advantage: groupNorm(), surrogate: vespo(), aggregation: tokenSum() });
      const { dLogp } = built.loss({ logps: log_ratio.flat(), oldLogps: log_ratio.flat().map(() => 0), advantages: advantages.flat(), mask: mask.flat(), shape: [rows, columns] });
      phi.forEach((row, i) => expect(Math.abs((dLogp[i * columns] as number) + (row[0] as number) * (advantages.flat()[i] as number))).toBeLessThanOrEqual(TOLERANCE));
    }
  });
  it("SDPO's importance clip is CISPO's weight with a cap of 2", () => {
    const expected = golden.sdpo_is_clip.flat();
    const built = fromTrl({ loss_type: 'cispo', epsilon_high: 2 });
    // exp(0.5), a ratio beyond the cap, exp(−0.5)
    const { dLogp } = built.loss({ logps: [0.5, 3, -0.5], oldLogps: [0, 0, 0], advantages: [-3], mask: [1, 1, 1], shape: [1, 3] });
    expect(largestDifference(dLogp, expected)).toBeLessThanOrEqual(TOLERANCE);
  });
  it("RLSD's reweighted advantages", () => {
    const { adv, teacher, policy, lam, clip: epsilon, out } = golden.rlsd_reweight;
    const actual = teacherReweight({ advantages: adv, teacherLogps: teacher.flat(), logps: policy.flat(), shape: [2, 2] }, { lambda: lam, epsilon });
    expect(largestDifference(actual, out.flat())).toBeLessThanOrEqual(TOLERANCE);
  });
  it('the adaptive KL controller', () => {
    const { init, target, horizon, steps } = golden.adaptive_kl_controller;
    let state = { coefficient: init };
    for (const { current_kl, n_steps, value } of steps) {
      state = updateAdaptiveKl(state, current_kl, n_steps, { target, horizon });
      expect(Math.abs(state.coefficient - value)).toBeLessThanOrEqual(TOLERANCE);
    }
  });
});

describe('PolicyRollout', () => {
  for (const c of golden.policy_rollout) {
    const rewards = [...c.rewards_normal, ...c.rewards_policy];
    const groupIds = rewards.map(() => 'example');
    const input = { rewards, groupIds, origin: c.is_policy.map((p) => (p === 1 ? ('policy' as const) : ('free' as const))) };
    const base = (epsilon: number, scale: 'group' | 'none' = 'group', epsilonHigh = 0.28) => objective({ name: 'base', advantage: groupNorm({ epsilon, scale }), surrogate: clip({ epsilon: 0.2, epsilonHigh, dualClip: 3, logRatioClamp: CLAMP_20 }), aggregation: tokenMean() });
    it(`${c.name}: advantages`, () => {
      const check = (name: string, actual: Float64Array): void => expect(largestDifference(actual, c.advantages[name] as number[]), name).toBeLessThanOrEqual(TOLERANCE);
      check('trl_union_group', poro(base(1e-4)).advantages(input));
      check('trl_union_none', poro(base(1e-4, 'none')).advantages(input));
      check('verl_union', poro(base(1e-6)).advantages(input));
      check('easyr1_union', poroGrpo().advantages(input));
      check('easyr1_union', poroDapo().advantages(input));
      check('separate_groups_trl', poro(base(1e-4), { baseline: 'separate' }).advantages(input));
      check('luffy_split_baseline(on-policy stats only)', poro(base(1e-6), { baseline: 'free-only' }).advantages(input));
    });
    for (const [name, expected] of Object.entries(c.losses)) {
      it(`${c.name}: ${name}`, () => {
        const sequence = name.includes('seq-mean-token-mean');
        // LUFFY's own script clips its on-policy rows at 0.2 / 0.2; the other conventions were run with 0.2 / 0.28.
        const aggregation = sequence ? sequenceMean({ over: 'non-empty', epsilon: 1e-8 }) : tokenMean();
        const options: PolicyRolloutOptions = name.startsWith('behavior')
          ? { ratioReference: 'behavior' }
          : name.startsWith('ratio_one')
            ? { ratioReference: 'detached' }
            : name.startsWith('luffy no')
              ? { ratioReference: 'shaped', shapingGamma: null }
              : name.startsWith('luffy')
                ? { ratioReference: 'shaped' }
                : name.startsWith('decoupled')
                  ? { offPolicyWeight: { level: name.includes('seq') ? 'sequence' : 'token', max: 2 } }
                  : {};
        const built = name.startsWith('PoRo-GRPO') ? poroGrpo() : name.startsWith('PoRo-DAPO') ? poroDapo() : poro(objective({ ...base(1e-4, 'group', name.startsWith('luffy') ? 0.2 : 0.28).parts, aggregation }), options);
        const advantages = name.startsWith('PoRo') ? (c.advantages['easyr1_union'] as number[]) : (c.advantages['trl_union_group'] as number[]);
        const columns = (c.mask[0] as number[]).length;
        const result = built.loss({
          logps: c.logp.flat(),
          oldLogps: c.old_no_policy.flat(),
          behaviorLogps: c.behavior.flat(),
          ...(expected.ref === undefined ? {} : { refLogps: expected.ref.flat() }),
          advantages,
          mask: c.mask.flat(),
          shape: [c.mask.length, columns],
          origin: c.is_policy as (0 | 1)[],
        });
        expect(Math.abs(result.loss - expected.loss)).toBeLessThanOrEqual(TOLERANCE);
        if (expected.grad !== undefined) expect(largestDifference(result.dLogp, expected.grad.flat())).toBeLessThanOrEqual(TOLERANCE);
        const { 'clip_ratio/region_mean': clipped } = result.metrics;
        if (expected.clipfrac !== undefined) expect(Math.abs((clipped as number) - expected.clipfrac)).toBeLessThanOrEqual(1e-8);
      });
    }
  }
});

it('offers its weights as a modifier', () => {
  const modifier: Modifier<number> = importanceWeights({ max: 2 });
  expect(modifier.needs).toEqual(['behaviorLogps']);
});
