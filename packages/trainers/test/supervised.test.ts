import { loraConfig } from '@trimpi/model';
import { type Engine, openDevice, ReferenceEngine, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { learningRateAt, readTrainingState, type SupervisedRow, SupervisedTrainer, writeTrainingState } from '../src/index.ts';
import { smallModel, withImage } from './small.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const rows: SupervisedRow[] = Array.from({ length: 6 }, (_, i) => {
  const sequence = withImage([5 + i, 17, 30 - i, 41, ...(i % 2 === 0 ? [9, 8] : [])], i);
  return { sequence, lossMask: Array.from(sequence.inputIds, (id) => (id >= 60 ? 0 : 1)) };
});

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
  it('ten steps on WebGPU follow the float64 engine: losses and gradient norms', async () => {
    const gpu = trainer(engine, kind);
    const reference = trainer(new ReferenceEngine(), kind);
    let first = 0;
    let last = 0;
    for (let step = 1; step <= 10; step++) {
      const got = await gpu.trainer.next();
      const want = await reference.trainer.next();
      expect(Math.abs(got.loss - want.loss), `loss ${step}`).toBeLessThan(2e-3);
      expect(Math.abs(got.gradNorm - want.gradNorm) / want.gradNorm, `norm ${step}`).toBeLessThan(2e-2);
      if (step === 1) first = want.loss;
      last = want.loss;
    }
    expect(last).toBeLessThan(first);
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
    after.trainer.step = 4;
    for (let i = 0; i < 3; i++) await after.trainer.next();
    const want = await readTrainingState(straight.model);
    const got = await readTrainingState(after.model);
    expect(got.size).toBeGreaterThan(0);
    for (const [name, values] of want) expect(Buffer.from(got.get(name)!.buffer).equals(Buffer.from(values.buffer)), name).toBe(true);
    for (const m of [straight, before, after]) m.model.dispose();
  });
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
  model.dispose();
});

it('schedules begin and end where transformers says', () => {
  const o = { learningRate: 1, steps: 10, warmupSteps: 2 };
  expect([1, 2, 3].map((s) => learningRateAt(s, { ...o, lrSchedulerType: 'linear' }))).toEqual([0.5, 1, 1]);
  expect(learningRateAt(7, { ...o, lrSchedulerType: 'linear' })).toBeCloseTo(0.5, 12);
  expect(learningRateAt(7, { ...o, lrSchedulerType: 'cosine' })).toBeCloseTo(0.5, 12);
  expect(learningRateAt(10, o)).toBe(1);
  expect(() => learningRateAt(1, { ...o, learningRate: -1 })).toThrow(/learningRate/);
});
