/**
 * @file The text tower and its head as an ONNX graph with a cache of keys and values, and the table of embeddings.
 * Names and shapes of inputs and outputs are those of the files that transformers.js loads.
 */
import type { ModelConfig } from '../config.ts';
import { mropeAxes, textFrequencies } from '../vl/towers.ts';
import { OnnxGraph, type Value } from './graph.ts';
import { type OnnxOps, rmsNorm, rotaryTables, rotate, silu } from './layers.ts';
import type { OnnxBits, OnnxWeights } from './weights.ts';

const PATH = 'model.language_model';
/** Added to scores that must not count; two of them still are a finite number. */
const FAR = -1e9;

/** input_ids [batch, sequence] to inputs_embeds [batch, sequence, hidden]. */
export function embeddingGraph(config: ModelConfig, weights: OnnxWeights, bits: 32 | 16): OnnxGraph {
  const g = new OnnxGraph('embed_tokens');
  const ids = g.input('input_ids', 'int64', ['batch_size', 'sequence_length']);
  // Only the rows that are looked up become float32.
  const rows = g.op('Gather', [weights.table(g, `${PATH}.embed_tokens.weight`, [config.vocabSize, config.hiddenSize], bits), ids], { axis: 0 });
  g.output(weights.widen(g, rows, bits), 'inputs_embeds', 'float32', ['batch_size', 'sequence_length', config.hiddenSize]);
  return g;
}

export function decoderGraph(config: ModelConfig, weights: OnnxWeights, { ops, bits, maxPositions }: { readonly ops: OnnxOps; readonly bits: OnnxBits; readonly maxPositions: number }): OnnxGraph {
  const { hiddenSize, numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim, rmsNormEps, intermediateSize } = config;
  const half = headDim / 2;
  const g = new OnnxGraph('decoder_model_merged');
  let x = g.input('inputs_embeds', 'float32', ['batch_size', 'sequence_length', hiddenSize]);
  const attentionMask = g.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length']);
  const positionIds = g.input('position_ids', 'int64', [3, 'batch_size', 'sequence_length']);
  const keep = g.input('num_logits_to_keep', 'int64', []);
  const levels = config.vision.deepstackVisualIndexes.length;
  const deep = levels === 0 ? undefined : g.input('deepstack_embeds', 'float32', [levels, 'batch_size', 'sequence_length', hiddenSize]);
  const cache = Array.from({ length: config.numHiddenLayers }, (_, i) => (['key', 'value'] as const).map((kind) => g.input(`past_key_values.${i}.${kind}`, 'float32', ['batch_size', kvHeads, 'past_sequence_length', headDim])) as [Value, Value]);

  // M-RoPE: of the angles by time, height and width [3, B, S, headDim / 2] each frequency takes the one of its axis.
  const axes = mropeAxes(config);
  const choose = g.floats('rotary.axes', Float32Array.from({ length: 3 * half }, (_, i) => (axes[i % half] === Math.floor(i / half) ? 1 : 0)), [3, 1, 1, half]);
  const tables = rotaryTables(g, maxPositions, textFrequencies(config));
  const [cos, sin] = [tables.cos, tables.sin].map((table) => g.op('ReduceSum', [g.op('Mul', [g.op('Gather', [table, positionIds], { axis: 0 }), choose]), g.integers(0)], { keepdims: 0 })) as [Value, Value];
  const presents: [Value, Value][] = [];
  const attention = ops === 'fused' ? fusedAttention() : standardAttention();

  const vector = (name: string, size: number) => weights.plain(g, name, [size]);
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const layer = `${PATH}.layers.${i}`;
    const linear = (input: Value, name: string, outputs: number, inputs: number, bias = false) => weights.linear(g, input, `${layer}.${name}.weight`, [outputs, inputs], bits, bias ? `${layer}.${name}.bias` : undefined);
    const normed = rmsNorm(g, x, vector(`${layer}.input_layernorm.weight`, hiddenSize), rmsNormEps, ops);
    const project = (name: 'q' | 'k' | 'v', count: number) => g.op('Reshape', [linear(normed, `self_attn.${name}_proj`, count * headDim, hiddenSize, config.attentionBias), g.integers(0, 0, count, headDim)]);
    const even = (t: Value, name: 'q' | 'k') => (config.qkNorm ? rmsNorm(g, t, vector(`${layer}.self_attn.${name}_norm.weight`, headDim), rmsNormEps, ops) : t);
    const mixed = attention(i, even(project('q', heads), 'q'), even(project('k', kvHeads), 'k'), project('v', kvHeads));
    x = g.op('Add', [x, linear(mixed, 'self_attn.o_proj', hiddenSize, heads * headDim, config.attentionOutputBias)]);
    const inner = rmsNorm(g, x, vector(`${layer}.post_attention_layernorm.weight`, hiddenSize), rmsNormEps, ops);
    const ff = g.op('Mul', [silu(g, linear(inner, 'mlp.gate_proj', intermediateSize, hiddenSize)), linear(inner, 'mlp.up_proj', intermediateSize, hiddenSize)]);
    x = g.op('Add', [x, linear(ff, 'mlp.down_proj', hiddenSize, intermediateSize)]);
    if (deep !== undefined && i < levels) x = g.op('Add', [x, g.op('Gather', [deep, g.integer(i)], { axis: 0 })]);
  }
  // The last n positions; from 0 on, which is all of them, when n is 0.
  const last = g.op('Slice', [x, g.op('Reshape', [g.op('Neg', [keep]), g.integers(1)]), g.integers(2 ** 31 - 1), g.integers(1)]);
  const head = config.tieWordEmbeddings ? `${PATH}.embed_tokens.weight` : 'lm_head.weight';
  const logits = weights.linear(g, rmsNorm(g, last, vector(`${PATH}.norm.weight`, hiddenSize), rmsNormEps, ops), head, [config.vocabSize, hiddenSize], bits);
  g.output(logits, 'logits', 'float32', ['batch_size', 'num_logits', config.vocabSize]);
  presents.forEach((pair, i) => pair.forEach((value, k) => g.output(value, `present.${i}.${k === 0 ? 'key' : 'value'}`, 'float32', ['batch_size', kvHeads, 'total_sequence_length', headDim])));
  return g;

  /** Matrix products and a softmax; the queries of a group of heads lie below each other, so that keys are not repeated. */
  function standardAttention(): Attention {
    const [total, length] = [extent(attentionMask, 1), extent(positionIds, 2)];
    const range = (from: Value, to: Value) => g.op('Range', [from, to, g.integer(1)]);
    const later = g.op('Greater', [range(g.integer(0), total), g.op('Unsqueeze', [range(g.op('Sub', [total, length]), total), g.integers(1)])]);
    const causal = g.op('Where', [later, g.scalar(FAR), g.scalar(0)]);
    const padding = g.op('Mul', [g.op('Sub', [g.scalar(1), g.op('Cast', [attentionMask], { to: 1 })]), g.scalar(FAR)]);
    const mask = g.op('Add', [causal, g.op('Unsqueeze', [padding, g.integers(1, 2)])]);
    const [c, s] = [cos, sin].map((t) => g.op('Unsqueeze', [t, g.integers(2)])) as [Value, Value];
    const headsFirst = (t: Value) => g.op('Transpose', [t], { perm: [0, 2, 1, 3] });
    const splitShape = g.op('Concat', [g.integers(0, heads), g.op('Reshape', [length, g.integers(1)]), g.integers(headDim)], { axis: 0 });
    return (i, q, k, v) => {
      const [pastKey, pastValue] = cache[i]!;
      const keys = g.op('Concat', [pastKey, headsFirst(rotate(g, k, c, s))], { axis: 2 });
      const values = g.op('Concat', [pastValue, headsFirst(v)], { axis: 2 });
      presents.push([keys, values]);
      const grouped = g.op('Reshape', [headsFirst(rotate(g, q, c, s)), g.integers(0, kvHeads, -1, headDim)]);
      const scores = g.op('Mul', [g.op('MatMul', [grouped, g.op('Transpose', [keys], { perm: [0, 1, 3, 2] })]), g.scalar(1 / Math.sqrt(headDim))]);
      const shares = g.op('Softmax', [g.op('Add', [g.op('Reshape', [scores, g.integers(0, heads, -1, 0)]), mask])], { axis: -1 });
      const mixed = g.op('MatMul', [g.op('Reshape', [shares, g.integers(0, kvHeads, -1, 0)]), values]);
      return g.op('Reshape', [headsFirst(g.op('Reshape', [mixed, splitShape])), g.integers(0, 0, heads * headDim)]);
    };
  }

  /** GroupQueryAttention and RotaryEmbedding of ONNX Runtime. Every token has its own row of the rotary tables, so M-RoPE fits the latter. */
  function fusedAttention(): Attention {
    const rows = g.op('Shape', [positionIds], { start: 1, end: 3 });
    const count = g.op('ReduceProd', [rows, g.integers(0)], { keepdims: 0 });
    const ids = g.op('Reshape', [g.op('Range', [g.integer(0), count, g.integer(1)]), rows]);
    const [c, s] = [cos, sin].map((t) => g.op('Reshape', [t, g.integers(-1, half)])) as [Value, Value];
    const real = g.op('ReduceSum', [attentionMask, g.integers(1)], { keepdims: 0 });
    const lastKey = g.op('Cast', [g.op('Sub', [real, g.integer(1)])], { to: 6 });
    const total = g.op('Cast', [extent(attentionMask, 1)], { to: 6 });
    const flat = (t: Value, n: number) => g.op('Reshape', [t, g.integers(0, 0, n * headDim)]);
    const rope = (t: Value, n: number) => g.op('RotaryEmbedding', [flat(t, n), ids, c, s], {}, { domain: 'com.microsoft' });
    return (i, q, k, v) => {
      const [mixed, key, value] = g.ops('GroupQueryAttention', [rope(q, heads), rope(k, kvHeads), flat(v, kvHeads), ...cache[i]!, lastKey, total], 3, { num_heads: heads, kv_num_heads: kvHeads, scale: { float: 1 / Math.sqrt(headDim) } }, { domain: 'com.microsoft' }) as [Value, Value, Value];
      presents.push([key, value]);
      return mixed;
    };
  }

  /** One extent of a value, as a scalar. */
  function extent(value: Value, axis: number): Value {
    return g.op('Squeeze', [g.op('Shape', [value], { start: axis, end: axis + 1 }), g.integers(0)]);
  }
}

/** Queries, keys and values [batch, sequence, heads, head size] of a layer to [batch, sequence, width]; leaves the layer's new cache behind. */
type Attention = (layer: number, q: Value, k: Value, v: Value) => Value;
