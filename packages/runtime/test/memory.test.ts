import { describe, expect, it } from 'vitest';
import { backward, embed, Graph, gatherRows, headLogProbabilities, idIndex, idIndexInputs, logSoftmax, matmul, ParameterStore, PhiloxStream, ReferenceEngine, rmsNorm, swiglu, type Tensor } from '../src/index.ts';

/** Four layers of a small network; what is recorded with and without checkpoints must give the same numbers. */
async function network(checkpoints: boolean) {
  const engine = new ReferenceEngine();
  const d = 8;
  const store = new ParameterStore(engine, 'p', Array.from({ length: 4 }, (_, i) => [{ name: `norm${i}`, shape: [d] }, { name: `up${i}`, shape: [d, 6 * d] }, { name: `down${i}`, shape: [3 * d, d] }]).flat());
  const random = new PhiloxStream(5);
  for (const name of store.names) store.write(name, Float32Array.from({ length: store.shape(name).reduce((a, b) => a * b, 1) }, () => random.normal() * 0.4));
  store.setTrainable(true);
  const g = new Graph();
  const x = g.input('x', [5, d]);
  let h: Tensor = x;
  for (let i = 0; i < 4; i++) {
    const layer = () => matmul(swiglu(matmul(rmsNorm(h, store.tensor(g, `norm${i}`), 1e-6), store.tensor(g, `up${i}`))), store.tensor(g, `down${i}`), { residual: h });
    h = checkpoints ? g.checkpoint(layer) : layer();
  }
  g.output('y', h);
  g.output('dx', backward(g, [[h, g.input('dy', [5, d])]], [x]).get(x)!);
  const plan = await engine.compile(g);
  const out = await plan.run({ x: Float64Array.from({ length: 40 }, () => random.normal()), dy: Float64Array.from({ length: 40 }, () => random.normal()) }, ['y', 'dx']);
  return { out, gradients: await store.storage('gradients').read(), nodes: plan.dispatches };
}

describe('activation checkpointing', () => {
  it('gives the same numbers by computing layers twice', async () => {
    const [plain, checkpointed] = [await network(false), await network(true)];
    expect(checkpointed.out).toEqual(plain.out);
    expect(checkpointed.gradients).toEqual(plain.gradients);
    expect(plain.gradients.some((g) => Math.abs(g) > 0.1)).toBe(true);
    expect(checkpointed.nodes).toBeGreaterThan(plain.nodes);
  });

  it('of a head in chunks and of an embedding, too', async () => {
    const run = async (checkpointed: boolean) => {
      const engine = new ReferenceEngine();
      const store = new ParameterStore(engine, 'p', [{ name: 'table', shape: [70, 4] }]);
      const random = new PhiloxStream(3);
      store.write('table', Float32Array.from({ length: 280 }, () => random.normal()));
      store.setTrainable(true);
      const g = new Graph();
      const ids = g.input('ids', [5], 'i32');
      const index = idIndexInputs(g, 'index', 5);
      const body = () => headLogProbabilities(rmsNorm(embed(ids, store.tensor(g, 'table'), { ids: index }), g.input('w', [4]), 1e-6), store.tensor(g, 'table'), g.input('targets', [5], 'i32'), { chunk: 64 });
      const { logp } = checkpointed ? g.checkpoint(body) : body();
      backward(g, [[logp, g.input('g', [5])]]);
      const plan = await engine.compile(g);
      const numbers = Int32Array.of(3, 69, 3, 12, 40);
      const { order, starts, rows } = idIndex(numbers);
      await plan.run({ ids: numbers, 'index.order': order, 'index.starts': starts, 'index.rows': rows, w: Float64Array.of(1, 2, 3, 4), targets: Int32Array.of(1, 65, 0, 7, 33), g: Float64Array.of(1, -1, 2, 0.5, 3) });
      return store.storage('gradients').read();
    };
    const [plain, again] = [await run(false), await run(true)];
    expect(Math.max(...plain.map(Math.abs))).toBeGreaterThan(0.1);
    again.forEach((x, i) => expect(Math.abs(x - plain[i]!)).toBeLessThan(1e-12));
  });

  it('refuses a body that writes to storage', () => {
    const engine = new ReferenceEngine();
    const g = new Graph();
    const target = g.view(engine.createStorage('t', 4), 0, [4]);
    expect(() => g.checkpoint(() => g.emitInto('columnSum', [g.input('x', [2, 4])], { rowsPerPart: 16 }, [target, g.scratch([1, 4])]))).toThrow(/writes to storage/);
  });
});

describe('the head in chunks', () => {
  it('is the softmax over the whole vocabulary, with its gradients', async () => {
    const run = async (chunk: number | undefined) => {
      const engine = new ReferenceEngine();
      const store = new ParameterStore(engine, 'p', [{ name: 'table', shape: [150, 8] }]);
      const random = new PhiloxStream(9);
      store.write('table', Float32Array.from({ length: 150 * 8 }, () => random.normal()));
      store.setTrainable(true);
      const g = new Graph();
      const x = g.input('x', [6, 8]);
      const targets = g.input('targets', [6], 'i32');
      const picked = gatherRows(x, g.input('index', [6], 'i32'), g.input('inverse', [6], 'i32'));
      const { logp, entropy } = chunk === undefined ? logSoftmax(matmul(picked, store.tensor(g, 'table'), { transposeB: true }), targets, 0.8) : headLogProbabilities(picked, store.tensor(g, 'table'), targets, { temperature: 0.8, chunk });
      g.output('logp', logp);
      g.output('entropy', entropy);
      g.output('dx', backward(g, [[logp, g.input('g', [6])], [entropy, g.input('h', [6])]], [x]).get(x)!);
      const plan = await engine.compile(g);
      const order = Int32Array.of(3, 1, 0, 5, 2, 4);
      const inverse = new Int32Array(6);
      order.forEach((from, i) => (inverse[from] = i));
      const normal = (n: number) => Float64Array.from({ length: n }, () => random.normal());
      return { ...(await plan.run({ x: normal(48), targets: Int32Array.of(0, 149, -1, 64, 63, 128), index: order, inverse, g: normal(6), h: normal(6) }, ['logp', 'entropy', 'dx'])), table: await store.storage('gradients').read() };
    };
    const whole = await run(undefined);
    for (const chunk of [1, 100, 150]) {
      const parts = await run(chunk);
      for (const [name, values] of Object.entries(whole)) Array.from(values).forEach((v, i) => expect(Math.abs(parts[name as keyof typeof parts]![i]! - v), `${name}[${i}]`).toBeLessThan(1e-12));
    }
  });
});
