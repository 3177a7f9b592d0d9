import { afterAll, describe, expect, it } from 'vitest';
import { dynamicMap, Graph, HYPER_LENGTH, openDevice, packHyper, packSgdHyper, ParameterStore, PhiloxStream, ReferenceEngine, SGD_HYPER_LENGTH, WebGpuEngine, type Engine, type SgdHyper, type SgdOptions } from '../src/index.ts';

const gpu = new WebGpuEngine(await openDevice());
afterAll(() => gpu.dispose());

/** Parameters after each of `steps` updates of SGD with the gradients that `gradient` gives. */
async function sgdPath(engine: Engine, start: number, hyper: SgdHyper, options: SgdOptions, steps: number, gradient: (p: number) => number): Promise<number[]> {
  const store = new ParameterStore(engine, 'p', [{ name: 'w', shape: [1, 64] }]);
  store.setTrainable(true, 'sgd');
  store.write('w', new Float32Array(64).fill(start));
  const g = new Graph();
  store.recordSGD(g, g.input('hyper', [SGD_HYPER_LENGTH]), options);
  const plan = await engine.compile(g);
  const path: number[] = [];
  for (let t = 0; t < steps; t++) {
    store.storage('gradients').write(new Float32Array(64).fill(gradient(path[t - 1] ?? start)));
    await plan.run({ hyper: packSgdHyper(hyper) });
    path.push((await store.read('w'))[5]!);
  }
  store.dispose();
  return path;
}

describe('SGD', () => {
  const hyper: SgdHyper = { learningRate: 0.1, momentum: 0.9, weightDecay: 0, maxNorm: 0, gradScale: 1 };

  it.each([['webgpu', gpu], ['float64', new ReferenceEngine()]] as const)('under a constant gradient is the geometric series: %s', async (_, engine) => {
    // b_t = (1 - mu^t) / (1 - mu); p_T = p - lr sum b_t, and with Nesterov p - lr sum (1 + mu b_t).
    const b = Array.from({ length: 6 }, (_, t) => (1 - 0.9 ** (t + 1)) / 0.1);
    const sums = (f: (b: number) => number) => b.map((_, t) => 2 - 0.1 * b.slice(0, t + 1).reduce((s, x) => s + f(x), 0));
    for (const [options, want] of [[{}, sums((x) => x)], [{ nesterov: true }, sums((x) => 1 + 0.9 * x)]] as const) {
      const got = await sgdPath(engine, 2, hyper, options, 6, () => 1);
      got.forEach((p, t) => expect(p).toBeCloseTo(want[t]!, 5));
    }
  });

  it('without momentum decays by (1 - lr wd)^t either way; with momentum only L2 gathers the decay in it', async () => {
    const decay = { ...hyper, momentum: 0, weightDecay: 0.5 };
    for (const decoupledWeightDecay of [false, true]) {
      expect((await sgdPath(gpu, 2, decay, { decoupledWeightDecay }, 5, () => 0))[4]).toBeCloseTo(2 * 0.95 ** 5, 5);
    }
    expect((await sgdPath(gpu, 2, { ...decay, momentum: 0.9 }, { decoupledWeightDecay: true }, 5, () => 0))[4]).toBeCloseTo(2 * 0.95 ** 5, 5);
    // p_{t+1} = p_t - lr b_t, b_t = mu b_{t-1} + wd p_t: the linear recurrence p_{t+1} = (1 + mu - lr wd) p_t - mu p_{t-1}.
    const p = [2, 2 * (1 - 0.05)];
    for (let t = 1; t < 5; t++) p.push((1.9 - 0.05) * p[t]! - 0.9 * p[t - 1]!);
    (await sgdPath(gpu, 2, { ...decay, momentum: 0.9 }, {}, 5, () => 0)).forEach((x, t) => expect(x).toBeCloseTo(p[t + 1]!, 5));
  });

  it('names the optimiser when the store was made trainable for another', () => {
    const store = new ParameterStore(new ReferenceEngine(), 'p', [{ name: 'w', shape: [1, 64] }]);
    store.setTrainable(true);
    const g = new Graph();
    expect(() => store.recordSGD(g, g.input('hyper', [SGD_HYPER_LENGTH]))).toThrow(/no momentum.*adamw.*setTrainable/);
  });
});

describe('8-bit AdamW', () => {
  it('has the values of create_dynamic_map of bitsandbytes', () => {
    // Made with its published code in numpy (float32): the value at each index.
    const signed = { 0: -0.992968738, 1: -0.978906274, 63: -0.107031256, 64: -0.0985937491, 125: -3.25000019e-6, 126: -5.50000038e-7, 127: 0, 128: 5.50000038e-7, 192: 0.12109375, 254: 0.992968738, 255: 1 };
    const unsigned = { 0: 0, 1: 3.2500003e-7, 2: 7.7499999e-7, 63: 0.010703126, 125: 0.0978906304, 127: 0.103515625, 191: 0.553515673, 254: 0.996484399, 255: 1 };
    for (const [map, want, sum] of [[dynamicMap(true), signed, 1], [dynamicMap(false), unsigned, 75.10526318098829]] as const) {
      expect(map.length).toBe(256);
      for (const [i, v] of Object.entries(want)) expect(Math.abs(map[Number(i)]! - v)).toBeLessThanOrEqual(2e-7 * Math.abs(v));
      expect(map.reduce((s, v) => s + v, 0)).toBeCloseTo(sum, 4);
    }
  });

  const length = 64 * 96;
  const hyperAt = (step: number) => packHyper({ learningRate: 0.05, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxNorm: 0, step, gradScale: 1 });

  /** Minimises sum c_i (p_i - 1)^2 / 2 with c over two decades; the gradient is computed here, in float64. */
  async function descend(engine: Engine, optimizer: 'adamw' | 'adamw8bit', steps: number) {
    const store = new ParameterStore(engine, 'p', [{ name: 'w', shape: [64, 96] }]);
    store.setTrainable(true, optimizer);
    const random = new PhiloxStream(3);
    const c = Float64Array.from({ length }, () => 10 ** (random.integer(1000) / 500 - 1));
    store.write('w', Float32Array.from({ length }, () => random.normal()));
    const g = new Graph();
    const hyper = g.input('hyper', [HYPER_LENGTH]);
    if (optimizer === 'adamw') store.recordAdamW(g, hyper);
    else store.recordAdamW8bit(g, hyper);
    const plan = await engine.compile(g);
    const go = async (from: number, to: number) => {
      for (let step = from; step <= to; step++) {
        const p = await store.read('w');
        store.storage('gradients').write(Float32Array.from(p, (x, i) => c[i]! * (x - 1)));
        await plan.run({ hyper: hyperAt(step) });
      }
      const p = await store.read('w');
      return { p, loss: Array.from(p).reduce((s, x, i) => s + (c[i]! * (x - 1) ** 2) / 2, 0) / length };
    };
    return { store, plan, go, ...(await go(1, steps)) };
  }

  it('goes down as AdamW does, with a quarter of the state', async () => {
    const [wide, narrow] = [await descend(gpu, 'adamw', 60), await descend(gpu, 'adamw8bit', 60)];
    const start = (await descend(gpu, 'adamw', 0)).loss;
    expect(start).toBeGreaterThan(1);
    expect(narrow.loss).toBeLessThan(0.12 * start);
    expect(Math.abs(narrow.loss - wide.loss)).toBeLessThan(0.05 * start);
    // Values and gradients are 8 bytes a parameter; moments 8, or 2 and 8 a block of 256 (and the two maps).
    expect(wide.plan.memory().storages).toBe(16 * length);
    expect(narrow.plan.memory().storages).toBe(10 * length + (8 * length) / 256 + 4 * 512);
  });

  it('writes the codes that float64 writes, but for ties', async () => {
    const [got, want] = [await descend(gpu, 'adamw8bit', 3), await descend(new ReferenceEngine(), 'adamw8bit', 3)];
    for (const part of ['state1', 'state2'] as const) {
      const [a, b] = [await got.store.storage(part).read(), await want.store.storage(part).read()];
      let apart = 0;
      Array.from(a).forEach((word, i) => {
        for (let j = 0; j < 4; j++) {
          const d = Math.abs(((word >>> (8 * j)) & 255) - ((b[i]! >>> (8 * j)) & 255));
          expect(d).toBeLessThanOrEqual(1);
          apart += d;
        }
      });
      expect(apart).toBeLessThan(length / 1000);
      expect(new Set(a).size).toBeGreaterThan(100);
    }
  });

  it('goes on from a saved state with the same bits', async () => {
    const straight = await descend(gpu, 'adamw8bit', 6);
    const first = await descend(gpu, 'adamw8bit', 3);
    const saved = await Promise.all([...first.store.stateParts, 'values' as const].map(async (part) => [part, await first.store.storage(part).read()] as const));
    const second = await descend(gpu, 'adamw8bit', 0);
    for (const [part, data] of saved) second.store.storage(part).write(data);
    expect((await second.go(4, 6)).p).toEqual(straight.p);
    expect(first.store.stateParts).toEqual(['state1', 'state2', 'absmax']);
  });
});
