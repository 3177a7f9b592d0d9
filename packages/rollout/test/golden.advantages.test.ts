import { describe, expect, it } from 'vitest';
import { type Objective, drGrpo, fromEasyR1, fromOpenRlhf, fromTrl, fromVerl, gdpo, groupNorm, grpo, leaveOneOut, objective, optimalTokenBaseline, reinforce, reinforcePlusPlusTokens, rloo, tokenMean } from '../src/index.ts';
import type { AdvantagePart } from '../src/advantages/part.ts';
import { golden, largestDifference } from './golden.ts';

const TOLERANCE = 1e-9;
const withAdvantage = (advantage: AdvantagePart): Objective => objective({ name: 'test', advantage, surrogate: reinforce(), aggregation: tokenMean() });

const PER_ROLLOUT: Record<string, Objective> = {
  'trl.grpo.scale_group': fromTrl({ scale_rewards: 'group' }),
  'trl.grpo.scale_batch': fromTrl({ scale_rewards: 'batch' }),
  'trl.grpo.scale_none': fromTrl({ scale_rewards: false }),
  'trl.grpo.normalize_then_sum': fromTrl({ multi_objective_aggregation: 'normalize_then_sum' }),
  'trl.rloo': fromTrl({ normalize_advantages: false }),
  'trl.rloo.normalized': fromTrl({ normalize_advantages: true }),
  'verl.grpo': fromVerl({ adv_estimator: 'grpo' }),
  'verl.dr_grpo': fromVerl({ algorithm: { adv_estimator: 'grpo', norm_adv_by_std_in_grpo: false } }),
  'verl.rloo': fromVerl({ adv_estimator: 'rloo' }),
  'verl.rloo_vectorized': fromVerl({ adv_estimator: 'rloo_vectorized' }),
  'verl.opo': fromVerl({ adv_estimator: 'opo' }),
  'verl.gpg': fromVerl({ adv_estimator: 'gpg' }),
  'verl.grpo_passk': fromVerl({ adv_estimator: 'grpo_passk' }),
  'easyr1.grpo': fromEasyR1({ adv_estimator: 'grpo' }),
  'easyr1.rloo': fromEasyR1({ adv_estimator: 'rloo' }),
  'easyr1.grpo_passk': fromEasyR1({ adv_estimator: 'grpo_passk' }),
  'swift.grpo.scale_group': grpo(),
  'swift.grpo.scale_batch': grpo({ scaleRewards: 'batch' }),
  'swift.grpo.scale_none': drGrpo(),
  'swift.rloo.scale_group': withAdvantage(leaveOneOut({ scale: 'group' })),
  'swift.rloo.scale_batch': withAdvantage(leaveOneOut({ scale: 'batch' })),
  'swift.rloo.scale_none': rloo(),
  'swift.reinforce_plus_plus.scale_group': grpo(),
  'swift.reinforce_plus_plus.scale_batch': withAdvantage(groupNorm({ scale: 'centred-batch' })),
  'swift.reinforce_plus_plus.scale_none': drGrpo(),
  'swift.gdpo': withAdvantage(gdpo({ epsilon: 1e-8 })),
  'openrlhf.rloo(formula)': fromOpenRlhf({ advantage_estimator: 'rloo' }),
  'openrlhf.group_norm(formula)': fromOpenRlhf({ advantage_estimator: 'group_norm' }),
  'tinker/verifiers.center(formula)': drGrpo(),
};

for (const set of golden.advantages) {
  const groupIds = set.rewards.map((_, i) => Math.floor(i / set.num_generations));
  const shape: [number, number] = [set.rewards.length, set.T];
  const mask = set.lengths.flatMap((length) => Array.from({ length: set.T }, (_, t) => (t < length ? 1 : 0)));
  const spread = (a: Float64Array): number[] => mask.map((m, k) => m * (a[Math.floor(k / set.T)] as number));
  describe(`advantages of ${set.name}`, () => {
    for (const [name, built] of Object.entries(PER_ROLLOUT)) {
      it(name, () => {
        const actual = built.advantages({ rewards: set.rewards, groupIds, lengths: set.lengths });
        expect(largestDifference(actual, set.expected[name] as number[])).toBeLessThanOrEqual(TOLERANCE);
      });
    }
    it('verl estimators over tokens', () => {
      const input = { rewards: set.rewards, groupIds, lengths: set.lengths, baselineRewards: set.remax_baseline };
      const expected = (name: string): number[] => (set.expected[name] as number[][]).flat();
      expect(largestDifference(spread(fromVerl({ adv_estimator: 'reinforce_plus_plus' }).advantages(input)), expected('verl.reinforce_plus_plus.gamma_1.0.per_token'))).toBeLessThanOrEqual(TOLERANCE);
      expect(largestDifference(spread(fromVerl({ adv_estimator: 'reinforce_plus_plus_baseline' }).advantages(input)), expected('verl.reinforce_plus_plus_baseline.per_token'))).toBeLessThanOrEqual(TOLERANCE);
      expect(largestDifference(spread(fromVerl({ adv_estimator: 'remax' }).advantages(input)), expected('verl.remax.per_token'))).toBeLessThanOrEqual(TOLERANCE);
      for (const gamma of [1, 0.9]) {
        const actual = reinforcePlusPlusTokens({ rewards: set.rewards, groupIds, mask, shape }, { gamma, countEpsilon: 1e-8 });
        expect(largestDifference(actual, expected(`verl.reinforce_plus_plus.gamma_${gamma.toFixed(1)}.per_token`))).toBeLessThanOrEqual(TOLERANCE);
      }
      const otb = optimalTokenBaseline({ rewards: set.rewards, groupIds, mask, shape, oldLogps: set.old_logp.flat(), sumPiSquared: set.sum_pi_squared.flat() });
      expect(largestDifference(otb, expected('verl.optimal_token_baseline.per_token'))).toBeLessThanOrEqual(TOLERANCE);
    });
  });
}

describe('several rewards', () => {
  for (const set of golden.multi_reward) {
    const rewards = set.rewards_per_func.map((row) => row.map((x) => (x === 'NaN' ? null : x)));
    const groupIds = rewards.map((_, i) => Math.floor(i / set.num_generations));
    const weights = { reward_weights: set.reward_weights };
    const cases: Record<string, Objective> = {
      'trl.sum_then_normalize.scale_group': fromTrl(weights),
      'trl.sum_then_normalize.scale_batch': fromTrl({ ...weights, scale_rewards: 'batch' }),
      'trl.sum_then_normalize.scale_none': fromTrl({ ...weights, scale_rewards: 'none' }),
      'trl.normalize_then_sum(GDPO)': fromTrl({ ...weights, multi_objective_aggregation: 'normalize_then_sum' }),
      'trl.rloo': fromTrl({ ...weights, normalize_advantages: false }),
    };
    for (const [name, built] of Object.entries(cases)) {
      it(`${set.name} ${name}`, () => {
        expect(largestDifference(built.advantages({ rewards, groupIds }), set.expected[name] as number[])).toBeLessThanOrEqual(TOLERANCE);
      });
    }
  }
  // ms-swift counts a missing reward as 0 in the weighted sum; its GDPO leaves it out, but counts rollouts without any
  // reward in the deviation of the batch (so that they move the others, which here they never do): that case differs.
  for (const set of golden.multi_reward) {
    it(`${set.name} ms-swift`, () => {
      const rewards = (missing: 0 | null) => set.rewards_per_func.map((row) => row.map((x) => (x === 'NaN' ? missing : x)));
      const groupIds = set.rewards_per_func.map((_, i) => Math.floor(i / set.num_generations));
      expect(largestDifference(grpo({ rewardWeights: set.reward_weights }).advantages({ rewards: rewards(0), groupIds }), set.expected['swift.grpo.scale_group(None->0)'] as number[])).toBeLessThanOrEqual(TOLERANCE);
      const actual = objective({ ...withAdvantage(gdpo({ epsilon: 1e-8 })).parts, rewardWeights: set.reward_weights }).advantages({ rewards: rewards(null), groupIds });
      const expected = set.expected['swift.gdpo'] as number[];
      if (set.name !== 'single_scorable_in_group') expect(largestDifference(actual, expected)).toBeLessThanOrEqual(TOLERANCE);
      // Six rollouts in its divisor where four were scored: deviations √(2/5) and √(2/3).
      else actual.forEach((a, i) => expect(a * Math.sqrt(5 / 3)).toBeCloseTo(expected[i] as number, 7));
    });
  }
  it('verl’s gdpo_reward_keys choose among the rewards, and name the weights', () => {
    const groupIds = [0, 0, 0, 1, 1, 1];
    const lengths = [1, 2, 3, 4, 5, 6];
    const [acc, style, noise] = [[1, 0, 0, 1, 1, 0], [0.2, 0.4, 0.9, 0.1, 0.3, 0.2], [9, -3, 4, 1, 7, 2]];
    const expected = fromVerl({ adv_estimator: 'gdpo', gdpo_reward_weights: [0.7, 0.3] }).advantages({ rewards: { acc, style } as Record<string, number[]>, groupIds, lengths });
    const rewards = { noise, style, acc } as Record<string, number[]>;
    expect(largestDifference(fromVerl({ algorithm: { adv_estimator: 'gdpo', gdpo_reward_keys: ['acc', 'style'], gdpo_reward_weights: [0.7, 0.3] } }).advantages({ rewards, groupIds, lengths }), expected)).toBeLessThanOrEqual(TOLERANCE);
    const even = fromVerl({ adv_estimator: 'gdpo' }).advantages({ rewards: { acc, style } as Record<string, number[]>, groupIds, lengths });
    expect(largestDifference(fromVerl({ adv_estimator: 'gdpo', gdpo_reward_keys: ['style', 'acc'] }).advantages({ rewards, groupIds, lengths }), even)).toBeLessThanOrEqual(TOLERANCE);
    expect(() => fromVerl({ adv_estimator: 'gdpo', gdpo_reward_keys: ['acc'], gdpo_reward_weights: [1, 2] })).toThrow(/gdpo_reward_weights/);
    expect(() => fromVerl({ adv_estimator: 'gdpo', gdpo_reward_keys: 'acc' })).toThrow(/gdpo_reward_keys/);
    expect(() => fromVerl({ adv_estimator: 'gdpo', gdpo_reward_keys: ['accuracy'] }).advantages({ rewards, groupIds, lengths })).toThrow(/accuracy.*noise, style, acc/s);
  });
  it('verl’s GDPO takes mean 0 and deviation 1 for a group of one, as its GRPO does', () => {
    // By hand: 0.7 / (1 + 1e-6) and ±0.35 / (σ + 1e-6), whitened over two tokens each (divisors Σm + 1e-8 and n − 1).
    const m = [0.7 / (1 + 1e-6), -0.35 / (0.7 / Math.SQRT2 + 1e-6), 0.35 / (0.7 / Math.SQRT2 + 1e-6)];
    const mean = (2 * (m[0]! + m[1]! + m[2]!)) / (6 + 1e-8);
    const variance = ((m.reduce((sum, x) => sum + 2 * (x - mean) ** 2, 0) / (6 + 1e-8)) * 6) / 5;
    const of = (built: Objective): Float64Array => built.advantages({ rewards: [0.7, 0.2, 0.9], groupIds: ['a', 'b', 'b'], lengths: [2, 2, 2] });
    expect(largestDifference(of(fromVerl({ adv_estimator: 'gdpo' })), m.map((x) => (x - mean) / Math.sqrt(variance + 1e-8)))).toBeLessThanOrEqual(TOLERANCE);
    expect(largestDifference(of(fromVerl({ adv_estimator: 'gdpo' })), [0.6406, -1.291, 0.6504])).toBeLessThan(5e-5);
    // TRL gives it nothing.
    expect(Math.abs(of(withAdvantage(gdpo()))[0] as number)).toBeLessThan(1e-15);
  });
  it('gives the same from named columns, and verl’s GDPO to the precision of its float32', () => {
    const set = golden.multi_reward[0] as (typeof golden.multi_reward)[0];
    const groupIds = set.rewards_per_func.map((_, i) => Math.floor(i / set.num_generations));
    const column = (k: number): number[] => set.rewards_per_func.map((row) => row[k] as number);
    const named = grpo({ rewardWeights: { style: 0.3, answer: 0.7 } }).advantages({ rewards: { answer: column(0), style: column(1) }, groupIds });
    expect(largestDifference(named, set.expected['trl.sum_then_normalize.scale_group'] as number[])).toBeLessThanOrEqual(TOLERANCE);
    const verl = fromVerl({ adv_estimator: 'gdpo', gdpo_reward_weights: set.reward_weights }).advantages({ rewards: set.rewards_per_func as number[][], groupIds, lengths: groupIds.map(() => 3) });
    expect(largestDifference(verl, set.expected['verl.gdpo(float32; equal lengths 3; token-whitened)'] as number[])).toBeLessThanOrEqual(1e-6);
  });
});

describe('edge cases of the libraries', () => {
  it('singleton groups as verl has them', () => {
    const { input, ...expected } = golden.singleton_group;
    for (const name of ['grpo', 'rloo', 'rloo_vectorized', 'opo', 'gpg']) {
      const actual = fromVerl({ adv_estimator: name }).advantages({ rewards: input.rewards, groupIds: input.groups, lengths: [2, 2, 2] });
      expect(largestDifference(actual, expected[`verl.${name}`] as number[]), name).toBeLessThanOrEqual(TOLERANCE);
    }
  });
  it('equal rewards are exactly 0 where float32 libraries give noise', () => {
    for (const { value, G, correct } of golden.identical_rewards_float32_noise) {
      for (const rewards of [new Float32Array(G).fill(value), new Float64Array(G).fill(value)]) {
        expect(Array.from(grpo().advantages({ rewards, groupIds: Array<number>(G).fill(0) }))).toEqual(correct);
        expect(Array.from(withAdvantage(groupNorm({ epsilon: 1e-6 })).advantages({ rewards, groupIds: Array<number>(G).fill(0) }))).toEqual(correct);
      }
    }
  });
});
