import { DEMO_CONFIG, INTERNALISE_CONFIG, resolveConfig } from '@trimpi/pipeline';
import { expect, it } from 'vitest';
import { fromForm } from '../src/worker/own-config.ts';

/** Everything that a stage may say besides. */
const TRAINING = { warmupSteps: 3, lrSchedulerType: 'cosine', weightDecay: 0.1, maxGradNorm: 0.5, onNonFinite: 'skip', earlyStoppingPatience: 4, earlyStoppingThreshold: 0.01 } as const;
const config = resolveConfig({ seed: 9, vmCpt: TRAINING, sft: { ...TRAINING, r: 4, loraAlpha: 12 }, rl: { ...TRAINING, numIterations: 2 } });

it('trains the base on a brought policy with all that the settings say of a stage', () => {
  const own = fromForm(config, { type: 'base', url: 'base/' });
  const { r, loraAlpha, ...sft } = config.sft;
  expect(own).toMatchObject({ seed: 9, tune: 'full', lora: { r, loraAlpha } });
  expect([own.vmCpt, own.sft, own.rl]).toEqual([config.vmCpt, sft, config.rl]);
  expect(own.sft).toMatchObject(TRAINING);
});

it('trains a checkpoint with the same, at the rates of an adapter', () => {
  const own = fromForm(config, { type: 'checkpoint', bits: 8, memory: 4, maxNewTokens: 77 });
  expect(own).toMatchObject({ seed: 9, tune: 'lora', bits: 8, lora: { r: 4, loraAlpha: 12 } });
  for (const stage of ['vmCpt', 'sft', 'rl'] as const) expect(own[stage]).toMatchObject({ ...TRAINING, steps: DEMO_CONFIG[stage].steps, learningRate: INTERNALISE_CONFIG[stage].learningRate });
  expect(own.rl).toMatchObject({ numIterations: 2, maxNewTokens: 77 });
});
