/** @file Ten steps of RL on WebGPU beside the same ten steps on the float64 engine: same samples, losses, weights and moments. */
import { loraConfig } from '@trimpi/model';
import { dapo, grpo, poroDapo, poroGrpo } from '@trimpi/rollout';
import { type Engine, openDevice, ReferenceEngine, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, expect, it } from 'vitest';
import { readTrainingState, type RlOptions, RlTrainer } from '../src/index.ts';
import { distances, lowTokens, pairs, smallModel } from './small.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const settings = { reward: lowTokens, examples: pairs(4), promptsPerStep: 2, policyFree: 4, maxNewTokens: 5, stopIds: [59], learningRate: 5e-3, steps: 10, warmupSteps: 2, lrSchedulerType: 'linear', seed: 11 } as const;

const CASES: Readonly<Record<string, { readonly options: Pick<RlOptions, 'objective' | 'policyAware'> & Partial<RlOptions>; readonly adapter?: boolean; readonly copy?: boolean }>> = {
  'GRPO, all parameters': { options: { objective: grpo(), policyAware: 0 } },
  'PoRo-GRPO with k3 of weight 0.01, an adapter; the model without it is the reference': { options: { objective: poroGrpo(), policyAware: 4 }, adapter: true },
  'PoRo-GRPO with k3, all parameters; a frozen copy is the reference': { options: { objective: poroGrpo({ beta: 0.05 }), policyAware: 4 }, copy: true },
  'DAPO': { options: { objective: dapo(), policyAware: 0 } },
  'PoRo-DAPO': { options: { objective: poroDapo(), policyAware: 4 } },
  'two passes of two updates a batch': { options: { objective: poroGrpo({ beta: 0 }), policyAware: 4, numIterations: 2, promptsPerUpdate: 1 } },
};

function make(on: Engine, { options, adapter, copy }: (typeof CASES)[string]) {
  const model = smallModel(on);
  const reference = copy === true ? smallModel(on) : undefined;
  if (adapter === true) {
    model.addAdapter('a', loraConfig({ r: 4, loraAlpha: 8 }), 7);
    model.setTrainable({ adapter: 'a' });
  } else model.setTrainable('text');
  const seen: string[] = [];
  const trainer = new RlTrainer(model, {
    ...settings, ...options, ...(adapter === true ? { adapter: 'a' } : {}), ...(reference === undefined ? {} : { reference }),
    onRollouts: (_, rollouts) => seen.push(rollouts.map((r) => r.completion.tokens.join()).join(' ')),
  });
  return { model, trainer, seen, dispose: () => [model, reference].forEach((m) => m?.dispose()) };
}

it.each(Object.entries(CASES))('%s', async (_, options) => {
  const gpu = make(engine, options);
  const exact = make(new ReferenceEngine(), options);
  const start = await readTrainingState(exact.model);
  for (let step = 1; step <= 10; step++) {
    const [got, want] = [await gpu.trainer.next(), await exact.trainer.next()];
    expect(gpu.seen.at(-1), `samples of step ${step}`).toBe(exact.seen.at(-1));
    expect(Math.abs(got.loss - want.loss), `loss ${step}: ${got.loss} and ${want.loss}`).toBeLessThan(1e-6 * (1 + Math.abs(want.loss)));
    if (want['grad_norm'] !== undefined) expect(Math.abs(got['grad_norm']! - want['grad_norm']) / (want['grad_norm'] + 1e-6), `norm ${step}`).toBeLessThan(1e-4);
    if (want['kl'] !== undefined) expect(Math.abs(got['kl']! - want['kl']), `kl ${step}`).toBeLessThan(1e-6);
  }
  expect(gpu.trainer.state()).toEqual(exact.trainer.state());
  const end = await readTrainingState(exact.model);
  for (const [name, distance] of distances(start, end)) expect(distance, name).toBeGreaterThan(1e-3);
  for (const [name, distance] of distances(await readTrainingState(gpu.model), end)) expect(distance, name).toBeLessThan(name.endsWith('/values') ? 2e-5 : 2e-4);
  gpu.dispose();
});
