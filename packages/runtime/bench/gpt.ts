/** @file The reference GPT of the benchmark: that of the README, with its sizes as parameters, so that peers can be given the same weights. */
import { attention, backward, embed, Graph, HYPER_LENGTH, idIndexInputs, logSoftmax, matmul, ParameterStore, PhiloxStream, rmsNorm, rope, ropeTable, swiglu, type Engine, type ParameterSpec, type PlanInputs, idIndex, packHyper } from '../src/index.ts';

export interface GptSizes {
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly hidden: number;
  readonly batch: number;
  readonly length: number;
}

export const REFERENCE_GPT: GptSizes = { vocabulary: 512, width: 128, layers: 4, heads: 4, hidden: 512, batch: 8, length: 128 };

/** Names and shapes ([in, out]) of the parameters; the table is also the head. */
export function gptParameters({ vocabulary, width, layers, hidden }: GptSizes): ParameterSpec[] {
  const layer = (i: number) => [
    { name: `${i}.norm1`, shape: [width] },
    { name: `${i}.qkv`, shape: [width, 3 * width] },
    { name: `${i}.out`, shape: [width, width] },
    { name: `${i}.norm2`, shape: [width] },
    { name: `${i}.up`, shape: [width, 2 * hidden] },
    { name: `${i}.down`, shape: [hidden, width] },
  ];
  return [{ name: 'table', shape: [vocabulary, width] }, { name: 'norm', shape: [width] }, ...Array.from({ length: layers }, (_, i) => layer(i)).flat()];
}

/** Normal numbers of deviation 0.02 for matrices, ones for norms: the same on every call. */
export function initialise(specs: readonly ParameterSpec[], seed: number): Map<string, Float32Array> {
  const random = new PhiloxStream(seed);
  return new Map(specs.map(({ name, shape }) => [name, Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => (shape.length === 1 ? 1 : random.normal() * 0.02))]));
}

/** Values of parameters by name. */
export type Weights = Iterable<readonly [name: string, values: Float32Array]>;

/** A training step as a graph: outputs `logp` [tokens] and `norm2` [1]. */
export function gptStep(engine: Engine, sizes: GptSizes, seed = 1, weights: Weights = initialise(gptParameters(sizes), seed)): { readonly graph: Graph; readonly store: ParameterStore } {
  const { width, layers, heads, batch, length } = sizes;
  const headDim = width / heads;
  const tokens = batch * length;
  const specs = gptParameters(sizes);
  const store = new ParameterStore(engine, 'gpt', specs);
  for (const [name, values] of weights) store.write(name, values);
  store.setTrainable(true);
  const g = new Graph();
  const p = (name: string) => store.tensor(g, name);
  const positions = g.input('positions', [1, tokens], 'i32');
  const table = g.input('table', [length, headDim / 2, 2]);
  const queryRanges = g.input('queryRanges', [tokens, 6], 'u32');
  const keyRanges = g.input('keyRanges', [tokens, 2], 'u32');
  let x = embed(g.input('ids', [tokens], 'i32'), p('table'), { ids: idIndexInputs(g, 'index', tokens) });
  for (let i = 0; i < layers; i++) {
    const qkv = matmul(rmsNorm(x, p(`${i}.norm1`), 1e-5), p(`${i}.qkv`));
    const turned = rope(qkv, positions, table, { heads: 2 * heads, headDim, axes: Array.from({ length: headDim / 2 }, () => 0) });
    const seen = attention(turned, turned, turned, { heads, kvHeads: heads, headDim, queryRanges, keyRanges, columns: [0, width, 2 * width] });
    x = matmul(seen, p(`${i}.out`), { residual: x });
    x = matmul(swiglu(matmul(rmsNorm(x, p(`${i}.norm2`), 1e-5), p(`${i}.up`))), p(`${i}.down`), { residual: x });
  }
  const { logp } = logSoftmax(matmul(rmsNorm(x, p('norm'), 1e-5), p('table'), { transposeB: true }), g.input('targets', [tokens], 'i32'));
  backward(g, [[logp, g.input('dLogp', [tokens])]]);
  g.output('logp', logp);
  g.output('norm2', store.recordAdamW(g, g.input('hyper', [HYPER_LENGTH])));
  return { graph: g, store };
}

/** What stays the same from step to step: causal ranges of each sequence, positions, the mean over tokens. */
export function gptConstants({ width, heads, batch, length }: GptSizes): PlanInputs {
  const tokens = batch * length;
  const headDim = width / heads;
  const t = Array.from({ length: tokens }, (_, i) => i);
  return {
    positions: Int32Array.from(t, (i) => i % length),
    table: ropeTable(length, Array.from({ length: headDim / 2 }, (_, j) => 10000 ** (-j / (headDim / 2)))),
    queryRanges: Uint32Array.from(t.flatMap((i) => [i - (i % length), i + 1, 0, 0, 0, 0])),
    keyRanges: Uint32Array.from(t.flatMap((i) => [i, i - (i % length) + length])),
    dLogp: new Float32Array(tokens).fill(-1 / tokens),
  };
}

/** Inputs that change: the tokens, what follows each, and AdamW's settings of the step. */
export function gptBatch(ids: Int32Array, targets: Int32Array, step: number, learningRate = 1e-3): PlanInputs {
  const { order, starts, rows } = idIndex(ids);
  const hyper = packHyper({ learningRate, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxNorm: 0, step, gradScale: 1 });
  return { ids, targets, 'index.order': order, 'index.starts': starts, 'index.rows': rows, hyper };
}

/** Sequences of a language that can be learnt: the next token is 3 x + 7 of the one before, and sometimes any. */
export function gptTokens({ vocabulary, batch, length }: GptSizes, random: PhiloxStream): { ids: Int32Array; targets: Int32Array } {
  const ids = new Int32Array(batch * length);
  const targets = new Int32Array(batch * length);
  for (let b = 0; b < batch; b++) {
    let x = random.integer(vocabulary);
    for (let t = 0; t < length; t++) {
      ids[b * length + t] = x;
      x = random.integer(10) === 0 ? random.integer(vocabulary) : (3 * x + 7) % vocabulary;
      targets[b * length + t] = x;
    }
  }
  return { ids, targets };
}
