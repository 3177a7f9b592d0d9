/** @file Every differentiable objective on fixed batches: its gradient against central differences, token by token. */
import { describe, expect, it } from 'vitest';
import {
  type Objective, biasCorrectedKl, clip, dapo, drGrpo, dro, entropyMask, fromEasyR1, fromOpenRlhf, fromTrl, fromVerl, gmpo, groupNorm, grpo, gspo, klPenalty, llds, mdpo, objective, offPolicySequenceMask, poro, poroDapo,
  poroGrpo, reinforce, rloo, sequenceMean, softGate, tokenMean, type Modifier,
} from './index.ts';
import type { Surrogate } from './surrogates/surrogate.ts';
import { golden, lossInput } from '../test/golden.ts';

const make = (surrogate: Surrogate, extra: Partial<Parameters<typeof objective>[0]> = {}): Objective => objective({ name: surrogate.name, advantage: groupNorm(), surrogate, aggregation: tokenMean(), ...extra });
const build: Record<string, () => Objective> = {
  grpo: () => grpo({ beta: 0.04, delta: 1.5 }),
  drGrpo: () => drGrpo({ maxCompletionLength: 8 }),
  dapo: () => dapo(),
  rloo: () => rloo(),
  gspo: () => gspo({ epsilon: 0.2, epsilonHigh: 0.3, beta: 0.1 }),
  poroGrpo: () => poroGrpo(),
  poroDapo: () => poroDapo(),
  'behavior ratio': () => poro(dapo(), { ratioReference: 'behavior' }),
  'shaped ratio': () => poro(grpo(), { ratioReference: 'shaped' }),
  'off-policy weight': () => poro(dapo(), { offPolicyWeight: { level: 'sequence', max: 2 } }),
  'dual clip': () => make(clip({ epsilonHigh: 0.3, dualClip: 1.4 })),
  'soft gate': () => make(softGate({ tauPositive: 2 })),
  'soft gate of sequences': () => make(softGate({ level: 'sequence', tauNegative: 3 })),
  gmpo: () => make(gmpo(), { aggregation: sequenceMean() }),
  dro: () => make(dro(0.5)),
  mdpo: () => make(mdpo(2)),
  reinforce: () => make(reinforce()),
  'bias-corrected KL': () => make(clip(), { regularisers: [biasCorrectedKl(0.3, 'token')] }),
  'bias-corrected KL of sequences': () => make(clip({ level: 'sequence' }), { regularisers: [biasCorrectedKl(0.3, 'sequence')], aggregation: sequenceMean() }),
  k1: () => make(clip(), { regularisers: [klPenalty(0.1, { estimator: 'k1' })] }),
  k2: () => make(clip(), { regularisers: [klPenalty(0.1, { estimator: 'k2' })] }),
  abs: () => make(clip(), { regularisers: [klPenalty(0.1, { estimator: 'abs' })] }),
  llds: () => make(clip(), { sequenceRegularisers: [llds()] }),
  masks: () => make(clip({ level: 'sequence' }), { modifiers: [entropyMask(0.6) as Modifier, offPolicySequenceMask(0.1)] }),
  'TRL luspo': () => fromTrl({ loss_type: 'luspo', importance_sampling_level: 'sequence', beta: 0.1, use_bias_correction_kl: true }),
  'TRL bnpo': () => fromTrl({ loss_type: 'bnpo', top_entropy_quantile: 0.5, off_policy_mask_threshold: 0.05 }),
  'TRL sampler': () => fromTrl({ loss_type: 'grpo', importance_sampling_level: 'sequence', vllm_importance_sampling_mode: 'token_mask', vllm_importance_sampling_clip_min: 0.8 }),
  // EasyR1 counts KL in float32, which has steps and no slope: here the same estimator in float64.
  'EasyR1 gspo': () => objective({ ...fromEasyR1({ loss_type: 'gspo', loss_avg_mode: 'seq' }).parts, regularisers: [klPenalty(0.1, { logRatioClamp: 20, valueClamp: 10 })] }),
  'OpenRLHF gspo': () => fromOpenRlhf({ policy_loss_type: 'gspo', dual_clip: 1.2 }),
  'OpenRLHF seq-mask-tis': () => fromOpenRlhf({ enable_vllm_is_correction: true, vllm_is_correction_type: 'seq-mask-tis', vllm_is_truncated_threshold: [0.9, 1.1] }),
  'verl gspo with kl': () => fromVerl({ loss_mode: 'gspo', use_kl_loss: true, kl_loss_coef: 0.1 }),
  'verl kl': () => fromVerl({ use_kl_loss: true, kl_loss_coef: 0.1, kl_loss_type: 'k2', loss_agg_mode: 'seq-mean-token-sum' }),
};

for (const data of ['b1', 'b2_large_ratio', 'b3_masked_row'].filter((name) => name in golden.loss_inputs)) {
  describe(`on ${data}`, () => {
    it.each(Object.keys(build))('%s', (name) => {
      const input = { ...lossInput(data), origin: [0, 1, 0, 1] as const };
      const one = (build[name] as () => Objective)();
      const h = 1e-6;
      const { dLogp } = one.loss(input);
      const at = (k: number, d: number): number => one.loss({ ...input, logps: input.logps.map((x, j) => (j === k ? x + d : x)) }).loss;
      input.logps.forEach((_, k) => expect(Math.abs((at(k, h) - at(k, -h)) / (2 * h) - (dLogp[k] as number)), `token ${k}`).toBeLessThan(1e-7));
      expect(dLogp.some((g) => g !== 0)).toBe(true);
    });
  });
}
