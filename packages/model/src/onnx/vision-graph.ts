/**
 * @file The vision tower as an ONNX graph, of any number and size of images.
 *
 * Patches stay in the order of the processor. Attention inside windows and frames is that of batches: the rows of each
 * segment are gathered to [segments, longest], masked where a segment is shorter, and gathered back, so that scores
 * outside of segments are never computed. The indices come from the host (`visionInputs`).
 */
import type { ModelConfig } from '../config.ts';
import { mergerNames, patchLength } from '../vl/parameters.ts';
import { visionFrequencies } from '../vl/towers.ts';
import { OnnxGraph, type Value } from './graph.ts';
import { activation, gelu, layerNorm, type OnnxOps, rmsNorm, rotaryTables, rotate, silu } from './layers.ts';
import type { OnnxWeights } from './weights.ts';

const EPS = 1e-6;
const PATH = 'model.visual';

export function visionGraph(config: ModelConfig, weights: OnnxWeights, { ops, bits, maxPatchRows }: { readonly ops: OnnxOps; readonly bits: 32 | 16; readonly maxPatchRows: number }): OnnxGraph {
  const v = config.vision;
  const { hiddenSize: width, numHeads: heads, headDim } = v;
  const half = headDim / 2;
  const g = new OnnxGraph('vision_encoder');
  const pixels = g.input('pixel_values', 'float32', ['patches', patchLength(config)]);
  const positions = g.input('patch_positions', 'int64', [2, 'patches']);
  const attendsIn = (i: number) => (v.windowSize === 0 || v.fullattBlockIndexes.includes(i) ? 'frame' : 'window');
  const blocks = Array.from({ length: v.depth }, (_, i) => i);
  const segments = Object.fromEntries((['window', 'frame'] as const).filter((kind) => blocks.some((i) => attendsIn(i) === kind)).map((kind) => [kind, {
    index: g.input(`${kind}_index`, 'int64', [`${kind}s`, `${kind}_length`]),
    mask: g.input(`${kind}_mask`, 'float32', [`${kind}s`, 1, 1, `${kind}_length`]),
    inverse: g.input(`${kind}_inverse`, 'int64', ['patches']),
  }]));

  // The first half of the angles turns with the row, the second with the column: [patches, 1, headDim / 2].
  const tables = rotaryTables(g, maxPatchRows, visionFrequencies(config).slice(0, half / 2));
  const [rows, columns] = g.ops('Split', [positions], 2, { axis: 0, num_outputs: 2 }).map((p) => g.op('Squeeze', [p, g.integers(0)])) as [Value, Value];
  const angles = (table: Value) => g.op('Unsqueeze', [g.op('Concat', [rows, columns].map((p) => g.op('Gather', [table, p], { axis: 0 })), { axis: -1 }), g.integers(1)]);
  const [cos, sin] = [angles(tables.cos), angles(tables.sin)];

  const norm = (x: Value, name: string, size: number) =>
    v.norm === 'rms' ? rmsNorm(g, x, weights.plain(g, `${name}.weight`, [size]), EPS, ops) : layerNorm(g, x, weights.plain(g, `${name}.weight`, [size]), weights.plain(g, `${name}.bias`, [size]), EPS);
  const linear = (x: Value, name: string, outputs: number, inputs: number) => weights.linear(g, x, `${name}.weight`, [outputs, inputs], bits, `${name}.bias`);
  const split = (x: Value) => g.op('Reshape', [x, g.integers(-1, heads, headDim)]);

  let x = weights.linear(g, pixels, `${PATH}.patch_embed.proj.weight`, [width, patchLength(config)], bits, v.patchEmbedBias ? `${PATH}.patch_embed.proj.bias` : undefined);
  if (v.numPositionEmbeddings > 0) {
    const ids = g.input('position_corners', 'int64', ['patches', 4]);
    const share = g.input('position_weights', 'float32', ['patches', 4]);
    // Widened as a whole, when the file is loaded: a GPU without float16 cannot look rows up in it.
    const table = weights.widen(g, weights.table(g, `${PATH}.pos_embed.weight`, [v.numPositionEmbeddings, width], bits), bits);
    const entries = g.op('Gather', [table, ids], { axis: 0 });
    x = g.op('Add', [x, g.op('ReduceSum', [g.op('Mul', [entries, g.op('Unsqueeze', [share, g.integers(-1)])]), g.integers(1)], { keepdims: 0 })]);
  }
  const [first, second] = config.modelType === 'qwen3_vl' ? ['linear_fc1', 'linear_fc2'] : ['fc1', 'fc2'];
  const deep: Value[] = [];
  for (const i of blocks) {
    const block = `${PATH}.blocks.${i}`;
    const [q, k, value] = g.ops('Split', [linear(norm(x, `${block}.norm1`, width), `${block}.attn.qkv`, 3 * width, width)], 3, { axis: -1, num_outputs: 3 }) as [Value, Value, Value];
    const flat = (heads3: Value) => g.op('Reshape', [heads3, g.integers(-1, width)]);
    const mixed = attend(flat(rotate(g, split(q), cos, sin)), flat(rotate(g, split(k), cos, sin)), value, segments[attendsIn(i)]!);
    x = g.op('Add', [x, linear(mixed, `${block}.attn.proj`, width, width)]);
    const normed = norm(x, `${block}.norm2`, width);
    const inner = v.intermediateSize;
    const ff = v.gatedMlp
      ? linear(g.op('Mul', [silu(g, linear(normed, `${block}.mlp.gate_proj`, inner, width)), linear(normed, `${block}.mlp.up_proj`, inner, width)]), `${block}.mlp.down_proj`, width, inner)
      : linear(activation(g, linear(normed, `${block}.mlp.${first}`, inner, width), v.hiddenAct), `${block}.mlp.${second}`, width, inner);
    x = g.op('Add', [x, ff]);
    const merger = v.deepstackVisualIndexes.indexOf(i);
    if (merger >= 0) deep.push(merge(merger, x));
  }
  g.output(merge(-1, x), 'image_features', 'float32', ['image_tokens', v.outHiddenSize]);
  if (deep.length > 0) g.output(g.op('Concat', deep.map((d) => g.op('Unsqueeze', [d, g.integers(0)])), { axis: 0 }), 'deepstack_features', 'float32', [deep.length, 'image_tokens', v.outHiddenSize]);
  return g;

  /** softmax(q k^T / sqrt(d)) v inside each segment: [patches, width]. */
  function attend(q: Value, k: Value, value: Value, { index, mask, inverse }: { readonly index: Value; readonly mask: Value; readonly inverse: Value }): Value {
    const gathered = (t: Value, perm: readonly number[]) => g.op('Transpose', [g.op('Reshape', [g.op('Gather', [t, index], { axis: 0 }), g.integers(0, 0, heads, headDim)])], { perm });
    const scores = g.op('Mul', [g.op('MatMul', [gathered(q, [0, 2, 1, 3]), gathered(k, [0, 2, 3, 1])]), g.scalar(1 / Math.sqrt(headDim))]);
    const mixed = g.op('MatMul', [g.op('Softmax', [g.op('Add', [scores, mask])], { axis: -1 }), gathered(value, [0, 2, 1, 3])]);
    return g.op('Gather', [g.op('Reshape', [g.op('Transpose', [mixed], { perm: [0, 2, 1, 3] }), g.integers(-1, width)]), inverse], { axis: 0 });
  }

  /** Cells of merge x merge patches to one token each; those of DeepStack norm whole cells. */
  function merge(level: number, patches: Value): Value {
    const name = level < 0 ? mergerNames(config)[0]! : `deepstack_merger_list.${level}`;
    const cell = width * v.spatialMergeSize ** 2;
    const qwen3 = config.modelType === 'qwen3_vl';
    const path = `${PATH}.${name}`;
    const toCells = (t: Value) => g.op('Reshape', [t, g.integers(-1, cell)]);
    const ln = `${path}.${qwen3 ? 'norm' : 'ln_q'}`;
    const cells = level < 0 ? toCells(norm(patches, ln, width)) : norm(toCells(patches), ln, cell);
    const [one, two] = qwen3 ? ['linear_fc1', 'linear_fc2'] : ['mlp.0', 'mlp.2'];
    return linear(gelu(g, linear(cells, `${path}.${one}`, cell, cell)), `${path}.${two}`, v.outHiddenSize, cell);
  }
}
