/** @file The contestant of this package. */
import { attention, backward, Graph, HYPER_LENGTH, KernelTuner, logSoftmax, matmul, openDevice, packHyper, ParameterStore, type Plan, type PlanInputs, WebGpuEngine } from '../../src/index.ts';
import { ADAMW, gptParameters, gptTokens, integers, sideBySide, uniform } from '../cases.mjs';
import { gptBatch, gptConstants, gptStep, type GptSizes } from '../gpt.ts';

export type Case =
  | { kind: 'matmul'; m: number; k: number; n: number }
  | { kind: 'attention' | 'attentionBackward'; b: number; t: number; h: number; d: number }
  | { kind: 'crossEntropy'; r: number; v: number }
  | { kind: 'adamw'; n: number }
  | ({ kind: 'step' } & GptSizes);

/** @param tuned Kernel variants are measured on the device, not taken by rule. */
export async function open(tuned = false) {
  const engine = new WebGpuEngine(await openDevice(), tuned ? { tuner: new KernelTuner() } : {});
  const sync = () => engine.device.gpu.queue.onSubmittedWorkDone();
  const replay = async (plan: Plan, inputs: PlanInputs, output: string) => {
    await plan.run(inputs);
    let first = true;
    return {
      // The first run has happened: the inputs were written with it.
      run: async () => {
        if (first) first = false;
        else await plan.run({});
      },
      sync,
      result: async () => (await plan.run({}, [output]))[output]!,
      dispatches: plan.dispatches,
      dispose: () => plan.dispose(),
    };
  };
  return {
    adapter: engine.device.adapter.description,
    facts: engine.device.adapter,
    async prepare(c: Case) {
      const g = new Graph();
      if (c.kind === 'matmul') {
        g.output('out', matmul(g.input('a', [c.m, c.k]), g.input('b', [c.k, c.n])));
        return replay(await engine.compile(g), { a: uniform(c.m * c.k, 1), b: uniform(c.k * c.n, 2) }, 'out');
      }
      if (c.kind === 'attention' || c.kind === 'attentionBackward') {
        const { b, t, h, d } = c;
        const rows = b * t;
        const qkv = g.input('qkv', [rows, 3 * h * d]);
        const options = { heads: h, kvHeads: h, headDim: d, queryRanges: g.input('queryRanges', [rows, 6], 'u32'), keyRanges: g.input('keyRanges', [rows, 2], 'u32'), columns: [0, h * d, 2 * h * d] as const };
        const o = attention(qkv, qkv, qkv, options);
        g.output('out', c.kind === 'attention' ? o : backward(g, [[o, g.input('dO', [rows, h * d])]], [qkv]).get(qkv)!);
        const { queryRanges, keyRanges } = gptConstants({ vocabulary: 1, width: h * d, layers: 1, heads: h, hidden: 1, batch: b, length: t });
        const parts = [1, 2, 3].map((seed) => uniform(rows * h * d, seed));
        const inputs = { qkv: sideBySide(parts, rows), queryRanges: queryRanges!, keyRanges: keyRanges! };
        return replay(await engine.compile(g), c.kind === 'attention' ? inputs : { ...inputs, dO: uniform(rows * h * d, 4) }, 'out');
      }
      if (c.kind === 'crossEntropy') {
        const logits = g.input('logits', [c.r, c.v]);
        const { logp } = logSoftmax(logits, g.input('targets', [c.r], 'i32'));
        g.output('logp', logp);
        g.output('out', backward(g, [[logp, g.input('dLogp', [c.r])]], [logits]).get(logits)!);
        return replay(await engine.compile(g), { logits: uniform(c.r * c.v, 1, 4), targets: integers(c.r, c.v, 2), dLogp: new Float32Array(c.r).fill(-1 / c.r) }, 'out');
      }
      if (c.kind === 'adamw') {
        const store = new ParameterStore(engine, 'p', [{ name: 'p', shape: [c.n / 1024, 1024] }]);
        store.setTrainable(true);
        store.write('p', uniform(c.n, 1));
        store.storage('gradients').write(uniform(c.n, 2, 0.1));
        store.recordAdamW(g, g.input('hyper', [HYPER_LENGTH]));
        const plan = await engine.compile(g);
        const hyper = packHyper({ ...ADAMW, maxNorm: 0, step: 1, gradScale: 1 });
        return { run: () => plan.run({ hyper }), sync, result: () => store.read('p'), dispatches: plan.dispatches, dispose: () => (plan.dispose(), store.dispose()) };
      }
      const weights = Object.entries(gptParameters(c) as Record<string, [number[], Float32Array]>).map(([name, [, values]]) => [name, values] as const);
      const { graph, store } = gptStep(engine, c, 1, weights);
      const plan = await engine.compile(graph);
      const { ids, targets } = gptTokens(c);
      let step = 0;
      let logp: ArrayLike<number> = [];
      await plan.run(gptConstants(c));
      for (const of of ['m', 'v', 'gradients'] as const) store.storage(of).write(new Float32Array(store.length));
      for (const [name, values] of weights) store.write(name, values);
      return {
        // The loss comes back with every step, as in training.
        run: async () => (logp = (await plan.run(gptBatch(ids, targets, ++step), ['logp']))['logp']!),
        sync,
        result: async () => Float32Array.of(-Array.from(logp).reduce((a, b) => a + b, 0) / logp.length),
        dispatches: plan.dispatches,
        dispose: () => (plan.dispose(), store.dispose()),
      };
    },
    dispose: () => engine.dispose(),
  };
}
