import { loraConfig, packBatch, type VisionLanguageModel } from '@trimpi/model';
import { grpo } from '@trimpi/rollout';
import { type Engine, openDevice, ReferenceEngine, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { learningRateAt, microBatches, readTrainingState, RlTrainer, SupervisedTrainer, writeTrainingState } from '../src/index.ts';
import { distances, lowTokens, pairs, smallModel, supervisedRows } from './small.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const rows = supervisedRows(6);

function trainer(on: Engine, kind: 'vm-cpt' | 'sft') {
  const model = smallModel(on);
  if (kind === 'sft') {
    model.addAdapter('a', loraConfig({ r: 4, loraAlpha: 8 }), 7);
    model.setTrainable({ adapter: 'a' });
  } else model.setTrainable('text', 'vision');
  const options = { rows, batchSize: 3, lossMean: kind === 'sft' ? 'token' : 'sequence', learningRate: 1e-2, steps: 10, warmupSteps: 2, lrSchedulerType: 'cosine', weightDecay: 0.1, seed: 3, ...(kind === 'sft' ? { adapter: 'a' } : {}) } as const;
  return { model, trainer: new SupervisedTrainer(model, options) };
}

describe.each(['vm-cpt', 'sft'] as const)('%s', (kind) => {
  it('ten steps on WebGPU follow the float64 engine: losses, gradient norms, weights and moments', async () => {
    const gpu = trainer(engine, kind);
    const reference = trainer(new ReferenceEngine(), kind);
    let first = 0;
    let last = 0;
    for (let step = 1; step <= 10; step++) {
      const got = await gpu.trainer.next();
      const want = await reference.trainer.next();
      expect(Math.abs(got.loss - want.loss), `loss ${step}`).toBeLessThan(2e-5);
      expect(Math.abs(got.grad_norm - want.grad_norm) / want.grad_norm, `norm ${step}`).toBeLessThan(2e-4);
      if (step === 1) first = want.loss;
      last = want.loss;
    }
    expect(last).toBeLessThan(first);
    for (const [name, distance] of distances(await readTrainingState(gpu.model), await readTrainingState(reference.model))) expect(distance, name).toBeLessThan(name.endsWith('/values') ? 2e-5 : 2e-4);
    gpu.model.dispose();
  });

  it('stopped after four steps and resumed elsewhere, it ends with the same bits', async () => {
    const straight = trainer(engine, kind);
    for (let i = 0; i < 7; i++) await straight.trainer.next();
    const before = trainer(engine, kind);
    for (let i = 0; i < 4; i++) await before.trainer.next();
    const state = await readTrainingState(before.model);
    const after = trainer(engine, kind);
    expect(writeTrainingState(after.model, state)).toEqual([]);
    after.trainer.restore(before.trainer.state());
    for (let i = 0; i < 3; i++) await after.trainer.next();
    const want = await readTrainingState(straight.model);
    const got = await readTrainingState(after.model);
    expect(got.size).toBeGreaterThan(0);
    for (const [name, values] of want) expect(Buffer.from(got.get(name)!.buffer).equals(Buffer.from(values.buffer)), name).toBe(true);
    for (const m of [straight, before, after]) m.model.dispose();
  });
});

it('LoRA dropout is a function of seed and step: resumed with the same bits, other masks with micro-batches, none in scoring', async () => {
  const make = (loraDropout: number, maxTokens?: number) => {
    const model = smallModel(engine);
    const adapter = model.addAdapter('a', loraConfig({ r: 4, loraAlpha: 8, loraDropout }), 7);
    // B is zero at first, and then no mask is seen.
    for (const name of adapter.store.names.filter((n) => n.endsWith('.b'))) adapter.store.write(name, Float32Array.from({ length: adapter.store.shape(name).reduce((x, y) => x * y, 1) }, (_, i) => 0.1 * Math.sin(i)));
    model.setTrainable({ adapter: 'a' });
    return { model, trainer: new SupervisedTrainer(model, { rows, batchSize: 4, lossMean: 'token', learningRate: 1e-2, steps: 4, seed: 3, adapter: 'a', ...(maxTokens === undefined ? {} : { maxTokens }) }) };
  };
  const all = [make(0.5), make(0.5), make(0.5), make(0), make(0.5, 20)] as const;
  const [straight, before, after, without, split] = all;
  const losses = [await straight.trainer.next(), await without.trainer.next(), await split.trainer.next()].map((m) => m.loss);
  expect(Math.abs(losses[0]! - losses[1]!)).toBeGreaterThan(1e-4);
  expect(Math.abs(losses[0]! - losses[2]!)).toBeGreaterThan(1e-6);
  await straight.trainer.next();
  await before.trainer.next();
  writeTrainingState(after.model, await readTrainingState(before.model));
  after.trainer.restore(before.trainer.state());
  await after.trainer.next();
  expect(await readTrainingState(after.model)).toEqual(await readTrainingState(straight.model));
  for (const { model } of all) model.dispose();
});

it('a state of another model is refused and nothing is written', async () => {
  const { model } = trainer(engine, 'sft');
  const before = await readTrainingState(model);
  expect(writeTrainingState(model, new Map([['lora.a.values/values', new Float32Array(3)]]))).toContain('lora.a.values/values');
  expect(await readTrainingState(model)).toEqual(before);
  model.dispose();
});

it('gradients that are not finite change no weight and say so', async () => {
  const { model, trainer: t } = trainer(engine, 'vm-cpt');
  model.text.writeRows('norm', 0, Float32Array.of(3e38));
  model.text.writeRows('norm', 1, Float32Array.of(3e38));
  const before = Float32Array.from(await model.text.values.read());
  await expect(t.next()).rejects.toMatchObject({ code: 'diverged' });
  expect(Float32Array.from(await model.text.values.read())).toEqual(before);
  const skipping = new SupervisedTrainer(model, { rows, batchSize: 3, lossMean: 'token', learningRate: 1e-2, steps: 10, seed: 3, onNonFinite: 'skip' });
  expect(await skipping.next()).toMatchObject({ step: 1, skipped_updates: 1 });
  expect(skipping.state()).toMatchObject({ step: 1, updates: 0 });
  expect(Float32Array.from(await model.text.values.read())).toEqual(before);
  // Nothing of the bad gradient is left: the next update is that of a model that never saw it.
  for (const row of [0, 1]) model.text.writeRows('norm', row, Float32Array.of(1));
  const { model: fresh } = trainer(engine, 'vm-cpt');
  const clean = new SupervisedTrainer(fresh, { rows, batchSize: 3, lossMean: 'token', learningRate: 1e-2, steps: 10, seed: 3 });
  clean.restore({ ...clean.state(), step: 1, position: 3 });
  const [got, want] = [await skipping.next(), await clean.next()];
  expect([got.loss, got.grad_norm]).toEqual([want.loss, want.grad_norm]);
  expect(Float32Array.from(await model.text.values.read())).toEqual(Float32Array.from(await fresh.text.values.read()));
  model.dispose();
  fresh.dispose();
});

describe('towers that are trained together', () => {
  const gradients = async (model: VisionLanguageModel) => Promise.all(model.trainableStores.map(async (s) => Float64Array.from(await s.storage('gradients').read())));
  const prepared = async (own: Engine) => {
    const model = smallModel(own);
    model.setTrainable('text', 'vision');
    const batch = packBatch(model.config, rows.slice(0, 2).map(({ sequence }) => ({ sequence })));
    await model.accumulate(batch, batch.targets.map(() => -1));
    return { model, before: await gradients(model) };
  };
  const hyper = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxNorm: 0.5, step: 1, gradScale: 1 };

  it.each(['WebGPU', 'float64'])('are clipped by the norm of the whole gradient: %s', async (which) => {
    const { model, before } = await prepared(which === 'WebGPU' ? engine : new ReferenceEngine());
    const norms = before.map((g) => Math.hypot(...g));
    const whole = Math.hypot(...norms);
    // Both would be clipped alone, by factors of their own.
    expect(Math.min(...norms)).toBeGreaterThan(2 * hyper.maxNorm);
    expect(Math.abs(norms[0]! / norms[1]! - 1)).toBeGreaterThan(0.1);
    expect((await model.step(hyper)) / whole).toBeCloseTo(1, 5);
    for (const [k, store] of model.trainableStores.entries()) {
      const m = await store.storage('m').read();
      const largest = Math.max(...before[k]!.map(Math.abs)) * (0.1 * hyper.maxNorm) / whole;
      expect(Math.max(...before[k]!.map((g, i) => Math.abs(m[i]! - 0.1 * g * (hyper.maxNorm / (whole + 1e-6))))) / largest, store.values.name).toBeLessThan(1e-5);
    }
    model.dispose();
  });

  it.each([0, 1])('none is updated when the gradient of one (%i) is not a number', async (broken) => {
    const { model, before } = await prepared(engine);
    const store = model.trainableStores[broken]!;
    store.storage('gradients').write(Float32Array.from(before[broken]!, (g, i) => (i === 3 ? NaN : g)));
    const state = await readTrainingState(model);
    expect(await model.step(hyper)).toBeNaN();
    expect(await readTrainingState(model)).toEqual(state);
    for (const g of await gradients(model)) expect(g.every((x) => x === 0)).toBe(true);
    model.dispose();
  });
});

it.each(['token', 'sequence'] as const)('micro-batches under a token budget give the gradient of one batch (mean by %s)', async (lossMean) => {
  const after = async (maxTokens?: number) => {
    const { model } = trainer(engine, 'vm-cpt');
    const t = new SupervisedTrainer(model, { rows, batchSize: 6, lossMean, learningRate: 1e-3, steps: 1, seed: 3, maxGradNorm: 0, ...(maxTokens === undefined ? {} : { maxTokens }) });
    // After one update the first moments are a tenth of its gradient.
    const metrics = await t.next();
    const state = await readTrainingState(model);
    model.dispose();
    return { metrics, moments: [...state].filter(([name]) => name.endsWith('/m')).flatMap(([, v]) => Array.from(v)) };
  };
  const whole = await after();
  const largest = Math.max(...whole.moments.map(Math.abs));
  for (const budget of [1, 25]) {
    const parts = await after(budget);
    expect(parts.metrics.loss).toBeCloseTo(whole.metrics.loss, 5);
    expect(parts.metrics.entropy).toBeCloseTo(whole.metrics.entropy, 5);
    expect(Math.max(...parts.moments.map((x, i) => Math.abs(x - whole.moments[i]!))) / largest).toBeLessThan(1e-5);
  }
});

it('tokens are packed in order up to the budget', () => {
  expect(microBatches([4, 3, 3, 9, 2], 7)).toEqual([[0, 1], [2], [3], [4]]);
  expect(microBatches([4, 3], undefined)).toEqual([[0, 1]]);
  expect(microBatches([], 5)).toEqual([]);
});

it('a state of another batch size, and rows with nothing to predict, are refused', () => {
  const { model, trainer: t } = trainer(engine, 'sft');
  expect(() => t.restore({ ...t.state(), step: 4, position: 16 })).toThrow(expect.objectContaining({ code: 'invalid-checkpoint', argument: 'state.position', message: expect.stringMatching(/of 4 rows each, and batchSize is 3/) }));
  expect(t.step).toBe(0);
  const masked = { ...rows[1]!, lossMask: Array.from(rows[1]!.lossMask, (_, i) => (i === 0 ? 1 : 0)) };
  expect(() => new SupervisedTrainer(model, { rows: [rows[0]!, masked], batchSize: 1, lossMean: 'token', learningRate: 1e-3, steps: 1, seed: 1, adapter: 'a' })).toThrow(expect.objectContaining({ code: 'invalid-option', argument: 'rows[1].lossMask' }));
  model.dispose();
});

it("schedules rise from the first step on, and fall and end as transformers' do", () => {
  const o = { learningRate: 1, steps: 10, warmupSteps: 2 };
  // get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup at step index 9 of 10: (10 - 9) / 8, and (1 + cos(7 pi / 8)) / 2.
  expect(learningRateAt(10, { ...o, lrSchedulerType: 'linear' })).toBeCloseTo(0.125, 12);
  expect(learningRateAt(10, { ...o, lrSchedulerType: 'cosine' })).toBeCloseTo(0.0380602337443566, 12);
  expect([1, 2, 3].map((s) => learningRateAt(s, { ...o, lrSchedulerType: 'linear' }))).toEqual([0.5, 1, 1]);
  expect(learningRateAt(7, { ...o, lrSchedulerType: 'linear' })).toBeCloseTo(0.5, 12);
  expect(learningRateAt(7, { ...o, lrSchedulerType: 'cosine' })).toBeCloseTo(0.5, 12);
  expect(learningRateAt(10, o)).toBe(1);
  expect(learningRateAt(2.4, { ...o, lrSchedulerType: 'linear' })).toBe(1);
  expect(() => learningRateAt(1, { ...o, learningRate: -1 })).toThrow(/learningRate/);
  // A stage of no steps is one; clipping at infinity is none.
  const model = smallModel(new ReferenceEngine());
  model.setTrainable('text');
  expect(new SupervisedTrainer(model, { rows, batchSize: 2, lossMean: 'token', learningRate: 1, steps: 0, seed: 1, maxGradNorm: Infinity }).step).toBe(0);
});

it.each([
  ['learningRate', NaN], ['learningRate', Infinity], ['learningRate', 0], ['steps', NaN], ['steps', -1], ['steps', 2.5], ['warmupSteps', NaN], ['warmupSteps', -1],
  ['lrSchedulerType', 'steps'], ['beta1', 1], ['beta1', -0.1], ['beta2', 1], ['beta2', NaN], ['eps', 0], ['eps', NaN], ['weightDecay', -1], ['weightDecay', NaN], ['maxGradNorm', NaN], ['maxGradNorm', -1], ['onNonFinite', 'ignore'],
] as const)('%s %s is refused before any work', (name, value) => {
  const model = smallModel(new ReferenceEngine());
  model.setTrainable('text');
  const options = { learningRate: 1e-3, steps: 4, seed: 1, [name]: value } as never as { learningRate: number; steps: number; seed: number };
  expect(() => new SupervisedTrainer(model, { rows: supervisedRows(2), batchSize: 2, lossMean: 'token', ...options })).toThrow(expect.objectContaining({ code: 'invalid-option', argument: name }));
  expect(() => new RlTrainer(model, { examples: pairs(2), reward: lowTokens, objective: grpo({ beta: 0 }), promptsPerStep: 2, policyFree: 2, policyAware: 0, maxNewTokens: 2, stopIds: [59], ...options })).toThrow(expect.objectContaining({ code: 'invalid-option', argument: name }));
  model.dispose();
});
