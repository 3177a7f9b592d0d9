/** @file TRL's RLOOTrainer, against its formulas worked out by hand. */
import { describe, expect, it } from 'vitest';
import { type Objective, fromTrl, rloo } from '../index.ts';

const groupIds = ['a', 'a'];

describe("TRL's RLOO", () => {
  it('clips rewards before the baseline', () => {
    const clipped = fromTrl({ reward_clip_range: [-1, 1] });
    expect(Array.from(clipped.advantages({ rewards: [5, 0], groupIds }))).toEqual([1, -1]);
    expect(Array.from(clipped.advantages({ rewards: [-5, 0.5], groupIds }))).toEqual([-1.5, 1.5]);
    expect(Array.from(clipped.advantages({ rewards: [null, 5], groupIds }))).toEqual([0, 0]);
    // Of 2 · 0.75, the weighted reward: 1.
    expect(Array.from(fromTrl({ reward_clip_range: [-1, 1], reward_weights: [2] }).advantages({ rewards: [[0.75], [0]], groupIds }))).toEqual([1, -1]);
    expect(Array.from(fromTrl({ reward_clip_range: null }).advantages({ rewards: [5, 0], groupIds }))).toEqual([5, -5]);
    for (const wrong of [[1], [1, -1], ['0', 1], 3, [0, NaN]]) expect(() => fromTrl({ reward_clip_range: wrong })).toThrow(/reward_clip_range/);
  });
  it('samples two completions a prompt unless told otherwise', () => {
    expect(fromTrl({ normalize_advantages: false }).parts.sampling?.numGenerations).toBe(2);
    expect(fromTrl({ normalize_advantages: false, num_generations: 4 }).parts.sampling?.numGenerations).toBe(4);
    expect(fromTrl({}).parts.sampling?.numGenerations).toBe(8);
  });
  it('refuses what GRPO has alone, and a penalty that would be in the reward', () => {
    for (const option of [{ delta: 1.5 }, { loss_type: 'dapo' }, { entropy_coef: 0.1 }, { top_entropy_quantile: 0.2 }, { importance_sampling_level: 'sequence' }]) {
      expect(() => fromTrl({ normalize_advantages: true, ...option })).toThrow(new RegExp(`${Object.keys(option)[0]}.*RLOOConfig`));
    }
    expect(() => fromTrl({ normalize_advantages: true, delta: null, entropy_coef: 0, top_entropy_quantile: 1, beta: 0 })).not.toThrow();
    expect(() => fromTrl({ normalize_advantages: true, beta: 0.05 })).toThrow(/klInReward\(\{ rewards, … \}, 0\.05\)/);
  });
  const both: [string, () => Objective][] = [['rloo()', rloo], ['fromTrl', () => fromTrl({ normalize_advantages: false })]];
  it.each(both)('%s: a row without an active token has ratio 1 and counts −A in the mean over rows', (_, build) => {
    const input = { logps: [-1, -2], oldLogps: [-1, NaN], advantages: [1, -1], mask: [1, 0], shape: [2, 1] as [number, number] };
    const { loss, dLogp } = build().loss(input);
    expect(loss).toBe(0);
    expect(Array.from(dLogp)).toEqual([-0.5, 0]);
    expect(build().loss({ ...input, advantages: [1, -3] }).loss).toBe(1);
    // One micro-batch of a step of eight.
    expect(build().loss({ ...input, advantages: [1, -3], globalBatchSize: 8 }).loss).toBe(0.25);
    expect(build().loss({ ...input, advantages: [{ name: 'a', weight: 2, advantages: [1, -3] }] }).loss).toBe(2);
    expect(() => build().loss({ ...input, advantages: [1, NaN] })).toThrow(/advantages\[1\]/);
  });
});
