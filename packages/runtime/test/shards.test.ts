import { afterAll, describe, expect, it } from 'vitest';
import { backward, embed, type Engine, Graph, headLogProbabilities, HYPER_LENGTH, idIndex, idIndexInputs, logSoftmax, matmul, openDevice, packHyper, packSgdHyper, ParameterStore, PhiloxStream, ReferenceEngine, SGD_HYPER_LENGTH, type Optimizer, type PlanOutputs } from '../src/index.ts';
import { PoisonedEngine, worst } from './harness.ts';

/** As in `kernels.test.ts`: f32 against f64, relative to 1 + |value|. */
const TOLERANCE = 3e-5;
/** The table of 600 x 32 takes 76,800 bytes: three shards of 256, 256 and 88 rows. */
const [VOCABULARY, WIDTH, TOKENS, LIMIT] = [600, 32, 12, 32768];

const device = await openDevice();
afterAll(() => device.dispose());

/** Embedding, tied head (whole and in chunks), both gradients and one step of the optimiser, on a table that exceeds a binding. */
async function step(engine: Engine, optimizer: Optimizer, chunk?: number): Promise<PlanOutputs & { dispatches: ArrayLike<number> }> {
  const random = new PhiloxStream(6);
  const normal = (n: number) => Float32Array.from({ length: n }, () => random.normal());
  const store = new ParameterStore(engine, 'p', [{ name: 'table', shape: [VOCABULARY, WIDTH] }, { name: 'bias', shape: [VOCABULARY] }]);
  store.write('table', normal(VOCABULARY * WIDTH));
  store.write('bias', normal(VOCABULARY));
  store.setTrainable(true, optimizer);
  const g = new Graph();
  const ids = Array.from({ length: TOKENS }, (_, i) => [0, 255, 256, 511, 512, 599, 300, 3, 256, 0, 599, 44][i]!);
  const source = ids.map((_, i) => (i === 3 ? 1 : i === 7 ? 0 : -1));
  const features = g.input('features', [2, WIDTH]);
  const x = embed(g.input('ids', [TOKENS], 'i32'), store.tensor(g, 'table'), { features, source: g.input('source', [TOKENS], 'i32'), featureTokens: g.input('featureTokens', [2], 'i32'), ids: idIndexInputs(g, 'index', TOKENS) });
  const targets = g.input('targets', [TOKENS], 'i32');
  const { logp } = chunk === undefined ? logSoftmax(matmul(x, store.tensor(g, 'table'), { transposeB: true, bias: store.tensor(g, 'bias'), alpha: 0.3 }), targets) : headLogProbabilities(x, store.tensor(g, 'table'), targets, { chunk });
  g.output('logp', logp);
  g.output('x', x);
  // Twice, so that what the shards add to is not zero.
  for (const name of ['first', 'second']) backward(g, [[logp, g.input(name, [TOKENS])]]);
  g.output('dFeatures', backward(g, [[logp, g.input('third', [TOKENS])]], [features]).get(features)!);
  g.output('y', matmul(g.input('left', [VOCABULARY, 4]), g.view(store.storage('values'), 0, [VOCABULARY, WIDTH]), { transposeA: true }));
  const learn = { learningRate: 0.1, weightDecay: 0.1, maxNorm: 1, gradScale: 0.5 };
  const hyper = g.input('hyper', [optimizer === 'sgd' ? SGD_HYPER_LENGTH : HYPER_LENGTH]);
  g.output('norm2', optimizer === 'sgd' ? store.recordSGD(g, hyper) : optimizer === 'adamw' ? store.recordAdamW(g, hyper) : store.recordAdamW8bit(g, hyper));
  const index = idIndex(ids, (t) => source[t]! >= 0);
  const plan = await engine.compile(g);
  const out = await plan.run({
    features: normal(2 * WIDTH), ids: Int32Array.from(ids), source: Int32Array.from(source), featureTokens: Int32Array.of(7, 3), targets: Int32Array.from(ids, (_, i) => (i * 131) % VOCABULARY),
    'index.order': index.order, 'index.starts': index.starts, 'index.rows': index.rows, first: normal(TOKENS), second: normal(TOKENS), third: normal(TOKENS), left: normal(4 * VOCABULARY),
    hyper: optimizer === 'sgd' ? packSgdHyper({ ...learn, momentum: 0.9 }) : packHyper({ ...learn, beta1: 0.9, beta2: 0.99, eps: 1e-6, step: 1 }),
  }, ['logp', 'x', 'dFeatures', 'y', 'norm2']);
  const result = { ...out, table: await store.read('table'), bias: await store.read('bias'), dispatches: [plan.dispatches] };
  for (const part of store.stateParts) if (part !== 'state1' && part !== 'state2') Object.assign(result, { [part]: await store.storage(part).read() });
  plan.dispose();
  store.dispose();
  return result as unknown as PlanOutputs & { dispatches: ArrayLike<number> };
}

describe('tables that exceed a binding', () => {
  it.each([['adamw', undefined], ['adamw', 128], ['sgd', undefined], ['adamw8bit', undefined]] as const)('are worked on in shards, with the numbers of float64: %s, chunks of %s', async (optimizer, chunk) => {
    const { dispatches, ...got } = await step(new PoisonedEngine(device, { maxBinding: LIMIT }), optimizer, chunk);
    const { dispatches: whole, ...unsharded } = await step(new PoisonedEngine(device), optimizer, chunk);
    const { dispatches: _, ...want } = await step(new ReferenceEngine(), optimizer, chunk);
    const { error, where } = worst(got, want);
    expect(error, where).toBeLessThan(TOLERANCE);
    expect(worst(unsharded, want).error).toBeLessThan(TOLERANCE);
    expect(dispatches[0]).toBeGreaterThan(whole[0]! + 8);
  });

  it('are refused where an operation cannot be cut, with the tensor and what to do', async () => {
    const engine = new PoisonedEngine(device, { maxBinding: 32768 });
    const g = new Graph();
    g.output('logits', matmul(g.input('x', [64, 4]), g.input('w', [600, 4]), { transposeB: true }));
    await expect(engine.compile(g)).rejects.toMatchObject({ code: 'limit', message: expect.stringMatching(/matmul f32\[64, 600\].*153600 bytes.*at most 32768.*headLogProbabilities/) });
  });
});
