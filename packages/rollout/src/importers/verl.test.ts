/** @file What verl's importer adds to its parts, against verl's formulas worked out by hand. */
import { describe, expect, it } from 'vitest';
import { fromVerl } from '../index.ts';

const close = (actual: number | undefined, expected: number, tolerance = 1e-12): void => expect(Math.abs((actual ?? NaN) - expected)).toBeLessThan(tolerance);

describe('losses that choose their own aggregation', () => {
  // Rows of four tokens and of one; on policy, so that the policy term is −mean A of the rows, here 0.
  const mask = [1, 1, 1, 1, 1, 0, 0, 0];
  const logps = [-1, -1, -1, -1, -1, NaN, NaN, NaN];
  const kl = [0.1, 0.1, 0.1, 0.1, 0.8, NaN, NaN, NaN];
  const input = { logps, oldLogps: logps, refLogps: logps.map((l, k) => l - (kl[k] as number)), entropy: [1, 1, 1, 1, 3, NaN, NaN, NaN], advantages: [0, 0], mask, shape: [2, 4] as [number, number] };
  const withKl = { use_kl_loss: true, kl_loss_type: 'kl', kl_loss_coef: 1 };
  it.each(['gspo', 'sapo', 'geo_mean'])('%s: KL and entropy over tokens, as loss_agg_mode has it', (loss_mode) => {
    const { loss, dLogp, metrics } = fromVerl({ loss_mode, ...withKl }).loss(input);
    close(loss, 1.2 / 5);
    close(metrics['actor/kl_loss'], 1.2 / 5);
    dLogp.forEach((g, k) => close(g, mask[k] ? 1 / 5 : 0));
    const bonus = fromVerl({ loss_mode, entropy_coeff: 1 }).loss(input);
    close(bonus.loss, -7 / 5);
    bonus.dEntropy?.forEach((g, k) => close(g, mask[k] ? -1 / 5 : 0));
  });
  it.each(['gspo', 'sapo', 'geo_mean'])('%s: and over sequences where it says so', (loss_mode) => {
    // Σ over rows of Σ over tokens, two rows.
    const sums = { loss_mode, loss_agg_mode: 'seq-mean-token-sum' };
    close(fromVerl({ ...sums, ...withKl }).loss(input).loss, (0.4 + 0.8) / 2);
    close(fromVerl({ ...sums, entropy_coeff: 1 }).loss(input).loss, -(4 + 3) / 2);
  });
  it('keeps the policy term over sequences', () => {
    // Advantages 1 and −1 with a weight of a half each: 0 over sequences, −3/5 over tokens.
    for (const loss_mode of ['gspo', 'geo_mean']) close(fromVerl({ loss_mode }).loss({ ...input, advantages: [1, -1] }).loss, 0, 1e-7);
    const { loss } = fromVerl({ loss_mode: 'gspo', ...withKl }).loss({ ...input, advantages: [1, 2] });
    close(loss, -(4 / (4 + 1e-8) + 2 / (1 + 1e-8)) / 2 + 1.2 / 5);
  });
  it('names the KL by origin too', () => {
    const { metrics } = fromVerl({ loss_mode: 'gspo', ...withKl }).loss({ ...input, origin: [0, 1] });
    close(metrics['actor/kl_loss/free'], 0.4 / 5);
    close(metrics['actor/kl_loss/policy'], 0.8 / 5);
  });
});

describe('weights and rejection', () => {
  const rule = { rollout_rs: 'token_k1', rollout_rs_threshold: '0.8_1.25' };
  // −k1 = old − behaviour = 0.1 and 0.5: log 1.25 = 0.223 rejects the second token.
  const input = { logps: [-1, -1], oldLogps: [-1, -1], behaviorLogps: [-1.1, -1.5], advantages: [1], mask: [1, 1], shape: [1, 2] as [number, number] };
  it('takes the weight of a sequence before it rejects', () => {
    const { dLogp, metrics } = fromVerl({ loss_mode: 'gpg', rollout_is: 'sequence', ...rule }).loss(input);
    close(dLogp[0], -Math.exp(0.6));
    expect(dLogp[1]).toBe(0);
    close(metrics['rollout_corr/rollout_is_mean'], (2 * Math.exp(0.6)) / (2 + 1e-8));
    close(metrics['rollout_corr/rollout_is_max'], Math.exp(0.6));
  });
  it('and the mean that weights are divided by', () => {
    const { dLogp, metrics } = fromVerl({ loss_mode: 'gpg', rollout_is: 'token', rollout_is_batch_normalize: true, ...rule }).loss(input);
    const mean = (Math.exp(0.1) + Math.exp(0.5)) / (2 + 1e-8);
    close(dLogp[0], -Math.exp(0.1) / mean);
    close(metrics['rollout_corr/rollout_is_mean'], mean);
  });
  it('geo_mean: the geometric mean over the kept tokens of weights taken before', () => {
    const config = { loss_mode: 'geo_mean', rollout_is: 'token', rollout_is_batch_normalize: true, ...rule };
    const mean = (Math.exp(0.1) + Math.exp(0.5)) / (2 + 1e-8);
    const weight = Math.exp(Math.log(Math.exp(0.1) / mean + 1e-10) / (1 + 1e-8));
    close(fromVerl(config).loss(input).loss, -weight * (1 / (1 + 1e-8)));
  });
  it('geo_mean: of sequence weights', () => {
    const gaps = { ...input, behaviorLogps: [-1.3, -1.3] };
    const advantage = 2 / (2 + 1e-8);
    const product = Math.exp((2 * Math.log(Math.exp(0.6) + 1e-10)) / (2 + 1e-8));
    const plain = fromVerl({ loss_mode: 'geo_mean', rollout_is: 'sequence' }).loss(gaps);
    close(plain.loss, -advantage * product);
    close(plain.loss, -1.82212, 1e-5);
    close(plain.metrics['rollout_corr/rollout_is_max'], Math.exp(0.6));
    // Two rows, weights e^0.6 and 1, divided by their mean.
    const two = { ...input, logps: [-1, -1, -1, -1], oldLogps: [-1, -1, -1, -1], behaviorLogps: [-1.3, -1.3, -1, -1], advantages: [1, 0], mask: [1, 1, 1, 1], shape: [2, 2] as [number, number] };
    const mean = ((Math.exp(0.6) + 1) / 2) * (2 / (2 + 1e-8));
    const weight = Math.exp((2 * Math.log(Math.exp(0.6) / mean + 1e-10)) / (2 + 1e-8));
    close(fromVerl({ loss_mode: 'geo_mean', rollout_is: 'sequence', rollout_is_batch_normalize: true }).loss(two).loss, (-advantage * weight) / 2);
  });
  it('rejects from the policy term alone under bypass_mode', () => {
    const bypass = { rollout_correction: { bypass_mode: true, ...rule } };
    const full = { ...input, refLogps: [-1.1, -2], entropy: [1, 3] };
    const withKl = { ...bypass, use_kl_loss: true, kl_loss_type: 'kl', kl_loss_coef: 1, entropy_coeff: 0.5 };
    const { loss, dLogp, dEntropy, metrics } = fromVerl(withKl).loss(full);
    // Ratio e^0.1 of the kept token, mean KL (0.1 + 1) / 2, mean entropy 2.
    close(loss, -Math.exp(0.1) + 0.55 - 1);
    close(metrics['actor/kl_loss'], 0.55);
    close(dLogp[0], -Math.exp(0.1) + 0.5);
    close(dLogp[1], 0.5);
    expect(Array.from(dEntropy ?? [])).toEqual([-0.25, -0.25]);
    // Without bypass the mask is rejected for all.
    const { loss: decoupled } = fromVerl({ ...withKl, rollout_correction: rule }).loss(full);
    close(decoupled, -1 + 0.1 - 0.5);
  });
  it('measures the gap of the current log-probabilities under bypass_mode', () => {
    const moved = { ...input, oldLogps: [-1.1, -1.5] };
    const gap = (config: object): number | undefined => fromVerl(config).loss(moved).metrics['rollout_corr/kl'];
    for (const more of [rule, { rollout_is: 'token' }]) {
      close(gap({ bypass_mode: true, ...more }), -0.6 / (2 + 1e-8));
      close(gap(more), 0);
    }
  });
});
