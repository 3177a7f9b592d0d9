/** @file KL as EasyR1 and OpenRLHF count it: both cast to float32 first, and add k3 up in different orders. */
import { describe, expect, it } from 'vitest';
import { fromEasyR1, fromOpenRlhf } from '../index.ts';

/** logp −1 against each reference; float32 holds the results, which were rounded step by step outside this package. */
const one = (ref: number) => ({ logps: [-1], oldLogps: [-1], refLogps: [ref], advantages: [0], mask: [1], shape: [1, 1] as [number, number] });
const easyR1 = (kl_penalty: string, ref: number) => fromEasyR1({ use_kl_loss: true, kl_coef: 1, kl_penalty }).loss(one(ref));

describe('EasyR1', () => {
  it.each<[string, number, number, number]>([
    ['kl', -1.2, 0.20000004768371582, 1],
    ['abs', -1.2, 0.20000004768371582, 1],
    ['mse', -1.2, 0.02000000886619091, 0.20000004768371582],
    ['low_var_kl', -1.2, 0.018730759620666504, 0.1812692880630493],
    ['low_var_kl', -2.97, 1.1094567775726318, 0.8605431467294693],
  ])('%s to %d', (kl_penalty, ref, value, slope) => {
    const { loss, dLogp, metrics } = easyR1(kl_penalty, ref);
    const mean = 1 / (1 + 1e-8);
    expect(Math.abs(loss - value * mean)).toBeLessThan(1e-15);
    expect(Math.abs((metrics['kl_loss'] as number) - value * mean)).toBeLessThan(1e-15);
    expect(Math.abs((dLogp[0] as number) - slope * mean)).toBeLessThan(6e-8);
  });
  it('still clamps k3', () => {
    expect(easyR1('low_var_kl', 5).loss).toBeCloseTo(10, 6);
    expect(easyR1('low_var_kl', 5).dLogp[0]).toBe(0);
  });
});

describe('OpenRLHF', () => {
  it.each<[string, number, number]>([
    ['k1', -1.2, 0.20000004768371582],
    ['k3', -1.2, 0.018730759620666504],
    ['k3', -2.97, 1.1094568967819214],
  ])('%s to %d', (kl_estimator, ref, value) => {
    expect(fromOpenRlhf({ use_kl_loss: true, init_kl_coef: 1, kl_estimator }).loss(one(ref)).loss).toBe(value);
  });
});
