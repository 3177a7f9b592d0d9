/** @file What OpenRLHF's importer reads, against OpenRLHF's formulas worked out by hand. */
import { describe, expect, it } from 'vitest';
import { fromOpenRlhf } from '../index.ts';

const close = (actual: number | undefined, expected: number, tolerance = 1e-12): void => expect(Math.abs((actual ?? NaN) - expected)).toBeLessThan(tolerance);

describe('KL and entropy', () => {
  // Rows of four tokens and of one; KL of 1/8 and 1, which float32 holds.
  const mask = [1, 1, 1, 1, 1, 0, 0, 0];
  const logps = [-1, -1, -1, -1, -1, NaN, NaN, NaN];
  const gap = [0.125, 0.125, 0.125, 0.125, 1, NaN, NaN, NaN];
  const input = { logps, oldLogps: logps, refLogps: logps.map((l, k) => l - (gap[k] as number)), entropy: [1, 1, 1, 1, 3, NaN, NaN, NaN], advantages: [0, 0], mask, shape: [2, 4] as [number, number] };
  it.each([{}, { policy_loss_type: 'gspo' }, { token_level_loss: false }])('are means over tokens: %o', (config) => {
    const { loss, dLogp, metrics } = fromOpenRlhf({ ...config, use_kl_loss: true, init_kl_coef: 1 }).loss(input);
    close(loss, 1.5 / 5);
    close(metrics['kl'], 1.5 / 5);
    dLogp.forEach((g, k) => close(g, mask[k] ? 1 / 5 : 0));
    close(fromOpenRlhf({ ...config, entropy_loss_coef: 1 }).loss(input).loss, -7 / 5);
  });
  it('leave the policy term over sequences', () => {
    const { loss } = fromOpenRlhf({ token_level_loss: false, use_kl_loss: true, init_kl_coef: 1 }).loss({ ...input, advantages: [1, 2] });
    close(loss, -(4 / (4 + 1e-8) + 2 / (1 + 1e-8)) / 2 + 1.5 / 5);
  });
});

describe('advantages', () => {
  const groupIds = ['a', 'a'];
  const of = (config: object, rewards: number[], lengths: number[], ids = groupIds): number[] => Array.from(fromOpenRlhf(config).advantages({ rewards, groupIds: ids, lengths }));
  it('no_advantage_std_norm subtracts the mean over tokens and divides by nothing', () => {
    expect(of({ advantage_estimator: 'reinforce_baseline', no_advantage_std_norm: true }, [1, 0], [1, 1])).toEqual([0.5, -0.5]);
    // Tokens 3 and 1: mean 3/4 of the rewards, 1/4 of ±1/2.
    expect(of({ advantage_estimator: 'reinforce', no_advantage_std_norm: true }, [1, 0], [3, 1])).toEqual([0.25, -0.75]);
    expect(of({ advantage_estimator: 'reinforce_baseline', no_advantage_std_norm: true }, [1, 0], [3, 1])).toEqual([0.25, -0.75]);
    expect(of({ advantage_estimator: 'reinforce_baseline', no_advantage_std_norm: true }, [2e307, 0], [1, 1])).toEqual([1e307, -1e307]);
    of({ advantage_estimator: 'reinforce_baseline', no_advantage_std_norm: false }, [1, 0], [1, 1]).forEach((a, i) => close(a, i === 0 ? 1 : -1));
    expect(of({ advantage_estimator: 'group_norm', no_advantage_std_norm: true }, [1, 0], [1, 1])).toEqual(of({}, [1, 0], [1, 1]));
  });
  it('reward_clip_range acts after the baseline and before whitening', () => {
    const range = { reward_clip_range: [-2, 3] };
    expect(of({ advantage_estimator: 'dr_grpo', ...range }, [10, 0], [1, 1])).toEqual([3, -2]);
    expect(of({ advantage_estimator: 'dr_grpo' }, [10, 0], [1, 1])).toEqual([5, -5]);
    expect(of({ advantage_estimator: 'rloo', ...range }, [10, 0], [1, 1])).toEqual([3, -2]);
    expect(of({ reward_clip_range: [-0.5, 0.5] }, [10, 0], [1, 1])).toEqual([0.5, -0.5]);
    expect(of({ advantage_estimator: 'reinforce_baseline', no_advantage_std_norm: true, ...range }, [10, 0], [1, 1])).toEqual([2.5, -2.5]);
    expect(of({ advantage_estimator: 'reinforce', no_advantage_std_norm: true, ...range }, [10, 0], [1, 1])).toEqual([1.5, -1.5]);
    expect(() => fromOpenRlhf({ reward_clip_range: [3, -2] })).toThrow(/reward_clip_range/);
  });
});
