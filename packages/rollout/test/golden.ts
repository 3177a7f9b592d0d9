import { readFileSync } from 'node:fs';

/** Values made by running TRL, verl, EasyR1, OpenRLHF, ms-swift and LUFFY in float64. NaN (None) is the string "NaN". */
export type Matrix = number[][];

export interface LossBatch {
  logp: Matrix;
  old: Matrix;
  ref: Matrix;
  sampling: Matrix;
  mask: Matrix;
  adv: number[];
  entropy: Matrix;
}

export interface PoroCase {
  name: string;
  rewards_normal: number[];
  rewards_policy: number[];
  lengths: number[];
  is_policy: number[];
  mask: Matrix;
  logp: Matrix;
  old_no_policy: Matrix;
  behavior: Matrix;
  advantages: Record<string, number[]>;
  losses: Record<string, { loss: number; grad: Matrix; clipfrac?: number; ref?: Matrix; weights?: Matrix }>;
}

export interface Golden {
  advantages: {
    name: string;
    num_generations: number;
    rewards: number[];
    lengths: number[];
    T: number;
    remax_baseline: number[];
    old_logp: Matrix;
    sum_pi_squared: Matrix;
    expected: Record<string, number[] | Matrix>;
  }[];
  multi_reward: { name: string; num_generations: number; rewards_per_func: (number | 'NaN')[][]; reward_weights: number[]; expected: Record<string, number[]> }[];
  singleton_group: { input: { rewards: number[]; groups: string[] } } & Record<string, number[]>;
  identical_rewards_float32_noise: { value: number; G: number; correct: number[] }[];
  loss_inputs: Record<string, LossBatch>;
  trl_loss: { defaults: Record<string, unknown>; cases: { data: string; params: Record<string, unknown>; loss: number; grad: Matrix; metrics: Record<string, number> }[] };
  trl_vllm_importance_sampling: { data: string; mode: string; clip_min: number | null; clip_max: number | null; ratio: Matrix; dapo_loss: number; dapo_grad: Matrix }[];
  verl_policy_loss: { data: string; loss: string; config: Record<string, unknown>; loss_agg_mode: string; value: number; grad: Matrix; metrics?: Record<string, number> }[];
  agg_loss_simple: { loss: Matrix; mask: Matrix; mode: string; loss_scale_factor: number | null; value: number }[];
  openrlhf_policy_loss: { data: string; params: Record<string, unknown>; loss: number; grad: Matrix; clip_ratio: number; ppo_kl: number; vllm_kl: number | null }[];
  easyr1_policy_loss: { data: string; loss_type: string; loss_avg_mode: string; clip: [number, number, number]; loss: number; grad: Matrix; metrics: Record<string, number> }[];
  kl: { logp: Matrix; ref: Matrix; cases: { lib: string; kind: string; value: Matrix; grad?: Matrix }[] };
  adaptive_kl_controller: { init: number; target: number; horizon: number; steps: { current_kl: number; n_steps: number; value: number }[] };
  verl_rollout_correction: {
    data: string;
    kind: 'weights' | 'reject';
    level: string;
    option: string;
    threshold: number | string;
    batch_normalize: boolean;
    weights: Matrix;
    mask: Matrix;
    masked_fraction: number;
    metrics: Record<string, number>;
  }[];
  overlong: { length: number; max_len: number; cache: number; trl: number; verl_formula: number; openrlhf: number }[];
  high_entropy_mask: { entropies: Matrix; mask: Matrix; cases: { threshold: number; top_entropy_quantile: number; cutoff: number; keep: Matrix }[] };
  off_policy_sequence_mask: { advantage: number; logp: number[]; sampling: number[]; threshold: number; keep: Matrix }[];
  vespo_gamma_weights: { log_ratio: Matrix; mask: Matrix; advantages: Matrix; phi: Matrix }[];
  sdpo_is_clip: Matrix;
  rlsd_reweight: { adv: number[]; teacher: Matrix; policy: Matrix; lam: number; clip: number; out: Matrix };
  policy_rollout: PoroCase[];
}

export const golden = JSON.parse(readFileSync(new URL('./fixtures/golden.json', import.meta.url), 'utf8')) as Golden;

/** A batch of the golden file in the layout of `loss`. */
export function lossInput(name: string) {
  const batch = golden.loss_inputs[name] as LossBatch;
  return {
    logps: batch.logp.flat(),
    oldLogps: batch.old.flat(),
    refLogps: batch.ref.flat(),
    behaviorLogps: batch.sampling.flat(),
    entropy: batch.entropy.flat(),
    mask: batch.mask.flat(),
    advantages: batch.adv,
    shape: [batch.mask.length, (batch.mask[0] as number[]).length] as [number, number],
  };
}

/** Largest difference of two lists of numbers; 0 counts as -0. */
export function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] as number) - (expected[i] as number));
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}
