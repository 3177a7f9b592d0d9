/** @file The two towers as plain functions over recorded tensors (arXiv 2502.13923; layer by layer as in transformers). */
import { activate, add, attention, blendRows, embed, gatherRows, headNorm, type IdIndex, isQuantised, layerNorm, linear, type LoraFactors, matmul, matmulShards, type QuantisedWeight, rmsNorm, rope, swiglu, type Tensor, type Weight, weightRows } from '@trimpi/runtime';
import type { ModelConfig, VisionActivation } from '../config.ts';
import { ModelError } from '../errors.ts';

/** The low-rank factors on a projection, when there are some. */
export type Factors = (projection: string) => LoraFactors | undefined;

/** What a tower is computed with, by name, in the graph being recorded. */
export interface Parameters {
  /** Norms, biases, the patch embedding, tables. */
  tensor(name: string): Tensor;
  /** Matrices of projections, which may be quantised. */
  weight(name: string): Weight;
  readonly factors: Factors;
}

export interface VisionInputs {
  /** [P, patch length] in window order. */
  readonly pixelValues: Tensor;
  /** i32 [2, P]. */
  readonly positions: Tensor;
  readonly rotary: Tensor;
  /** u32 [P, 6] and [P, 2], of windows and of whole frames. */
  readonly window: Segments;
  readonly frame: Segments;
  /** Only with a learned position table: the four entries around each patch, i32 [4 P] and f32 [P, 4]; and their index when the table is trained. */
  readonly corners?: { readonly ids: Tensor; readonly weights: Tensor; readonly index?: IdIndex };
}

/** What the tower puts out, [P / merge^2, text width] each, in window order. */
export interface VisionFeatures {
  readonly features: Tensor;
  /** One for each of the first text layers, which takes it up behind itself (Qwen3-VL's DeepStack). */
  readonly deep: readonly Tensor[];
}

export interface Segments {
  readonly queries: Tensor;
  readonly keys: Tensor;
}

/** Called with each intermediate result by name, for tests and inspection. */
export type Observer = (name: string, value: Tensor) => void;

const ACTIVATIONS = { silu: 'silu', quick_gelu: 'quickGelu', gelu_pytorch_tanh: 'geluTanh' } as const satisfies Record<VisionActivation, string>;

/** Vision tower and mergers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL: [P, patch length] to features in window order. */
export function visionTower(config: ModelConfig, { tensor: p, weight: w, factors: f }: Parameters, inputs: VisionInputs, observe?: Observer): VisionFeatures {
  const v = config.vision;
  const half = v.headDim / 2;
  const axes = Array.from({ length: half }, (_, j) => (j < half / 2 ? 0 : 1));
  const norm = (x: Tensor, name: string) => (v.norm === 'rms' ? rmsNorm(x, p(name), VISION_EPS) : layerNorm(x, p(name), p(`${name}.bias`), VISION_EPS));
  const positioned = inputs.corners === undefined ? undefined : blendRows(embed(inputs.corners.ids, p('pos_embed'), inputs.corners.index === undefined ? {} : { ids: inputs.corners.index }), inputs.corners.weights);
  let x = matmul(inputs.pixelValues, p('patch_embed'), {
    transposeB: true,
    ...(v.patchEmbedBias ? { bias: p('patch_embed.bias') } : {}),
    ...(positioned === undefined ? {} : { residual: positioned }),
  });
  observe?.('vision.patch_embed', x);
  const deep: Tensor[] = [];
  for (let i = 0; i < v.depth; i++) {
    const name = (part: string) => `blocks.${i}.${part}`;
    const project = (part: string, input: Tensor, residual?: Tensor) =>
      projection(input, w(`${name(part)}.weight`), p(`${name(part)}.bias`), f(name(part)), residual);
    const segments = v.windowSize === 0 || v.fullattBlockIndexes.includes(i) ? inputs.frame : inputs.window;
    const qkv = rope(project('qkv', norm(x, name('norm1'))), inputs.positions, inputs.rotary, { heads: 2 * v.numHeads, headDim: v.headDim, axes });
    const mixed = attention(qkv, qkv, qkv, {
      heads: v.numHeads,
      kvHeads: v.numHeads,
      headDim: v.headDim,
      queryRanges: segments.queries,
      keyRanges: segments.keys,
      columns: [0, v.hiddenSize, 2 * v.hiddenSize],
    });
    x = project('proj', mixed, x);
    const normed = norm(x, name('norm2'));
    x = project('down', v.gatedMlp ? swiglu(project('gate_up', normed)) : activate(project('up', normed), ACTIVATIONS[v.hiddenAct]), x);
    observe?.(`vision.block.${i}`, x);
    const merger = v.deepstackVisualIndexes.indexOf(i);
    if (merger >= 0) deep.push(merge(`deepstack.${merger}`, x));
  }
  return { features: merge('merger', x), deep };

  /** Cells of merge x merge patches to one token each; DeepStack norms the cell, the last merger its patches. */
  function merge(name: string, patches: Tensor): Tensor {
    const toCells = (t: Tensor) => t.graph.reshape(t, [(patches.shape[0] ?? 0) / v.spatialMergeSize ** 2, v.hiddenSize * v.spatialMergeSize ** 2]);
    const cells = name === 'merger' ? toCells(norm(patches, `${name}.ln_q`)) : norm(toCells(patches), `${name}.ln_q`);
    const project = (part: string, input: Tensor) => projection(input, w(`${part}.weight`), p(`${part}.bias`), f(part));
    const out = project(`${name}.2`, activate(project(`${name}.0`, cells), 'gelu'));
    observe?.(`vision.${name}`, out);
    return out;
  }
}

/** Fixed in the architecture, whatever the file says of the text tower. */
const VISION_EPS = 1e-6;

export interface TextInputs {
  /** [T, hidden]: embedded tokens with the features of images in place. */
  readonly embedded: Tensor;
  /** i32 [3, T]. */
  readonly positions: Tensor;
  readonly rotary: Tensor;
  readonly queryRanges: Tensor;
  readonly keyRanges?: Tensor;
  /** Features that text layer k takes up behind itself at the tokens of images: `source` i32 [T], `featureTokens` i32 [cells] as for `embed`. */
  readonly deep?: { readonly levels: readonly Tensor[]; readonly source: Tensor; readonly featureTokens: Tensor };
  /** Layers are computed again in the backward pass instead of being kept. */
  readonly checkpointing?: boolean;
  /** Turned q, k and v of layer i in; where keys and values are read from out (a cache that has taken them up). */
  readonly cache?: (layer: number, qkv: Tensor) => { readonly keys: Tensor; readonly kColumn: number; readonly vColumn: number } | undefined;
}

/** The decoder layers, before the last norm: [T, hidden]. */
export function textTower(config: ModelConfig, { tensor: p, weight: w, factors: f }: Parameters, inputs: TextInputs, observe?: Observer): Tensor {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim, rmsNormEps } = config;
  const axes = mropeAxes(config);
  const kColumn = heads * headDim;
  const vColumn = (heads + kvHeads) * headDim;
  let x = inputs.embedded;
  observe?.('text.embedded', x);
  const layer = (i: number) => {
    const name = (part: string) => `layers.${i}.${part}`;
    const weight = (part: string) => w(`${name(part)}.weight`);
    const normed = rmsNorm(x, p(name('input_layernorm')), rmsNormEps);
    const projected = projection(normed, weight('qkv'), config.attentionBias ? p(`${name('qkv')}.bias`) : undefined, f(name('qkv')));
    const even = config.qkNorm ? headNorm(projected, p(name('qk_norm')), { heads: heads + kvHeads, queryHeads: heads, headDim, eps: rmsNormEps }) : projected;
    const qkv = rope(even, inputs.positions, inputs.rotary, { heads: heads + kvHeads, headDim, axes });
    const cached = inputs.cache?.(i, qkv);
    const keys = cached?.keys ?? qkv;
    const mixed = attention(qkv, keys, keys, {
      heads,
      kvHeads,
      headDim,
      queryRanges: inputs.queryRanges,
      ...(inputs.keyRanges === undefined ? {} : { keyRanges: inputs.keyRanges }),
      columns: [0, cached?.kColumn ?? kColumn, cached?.vColumn ?? vColumn],
    });
    x = projection(mixed, weight('o'), config.attentionOutputBias ? p(`${name('o')}.bias`) : undefined, f(name('o')), x);
    const ff = swiglu(projection(rmsNorm(x, p(name('post_attention_layernorm')), rmsNormEps), weight('gate_up'), undefined, f(name('gate_up'))));
    x = projection(ff, weight('down'), undefined, f(name('down')), x);
    const level = inputs.deep?.levels[i];
    if (inputs.deep !== undefined && level !== undefined) x = add(x, gatherRows(level, inputs.deep.source, inputs.deep.featureTokens));
    observe?.(`text.layer.${i}`, x);
  };
  for (let i = 0; i < config.numHiddenLayers; i++) {
    if (inputs.checkpointing === true) x.graph.checkpoint(() => layer(i));
    else layer(i);
  }
  return x;
}

/** Name of the matrix of the head: the embedding table where the two are tied. */
export function headName(config: ModelConfig): string {
  return config.tieWordEmbeddings ? 'embed_tokens' : 'lm_head';
}

/** Logits of hidden states: the last norm and the head. */
export function languageHead(config: ModelConfig, { tensor, weight, factors }: Parameters, x: Tensor): Tensor {
  const normed = rmsNorm(x, tensor('norm'), config.rmsNormEps);
  const head = weight(headName(config));
  const rows = isQuantised(head) ? rowsPerBinding(head) : Infinity;
  if (!isQuantised(head) || head.rows <= rows) return projection(normed, head, undefined, factors('lm_head'));
  if (factors('lm_head') !== undefined) throw new ModelError('unsupported', { argument: 'adapter', value: 'lm_head', message: `is on a quantised head of more than the ${rows} rows that a binding holds`, remedy: 'Leave lm_head out of targetModules.' });
  return matmulShards(normed, shardsOf(head).map((s) => s.table));
}

/** What a binding holds on every device, bytes. */
const BINDING = 128 * 2 ** 20;

/** How many rows of a quantised matrix one binding holds, in multiples of 64. */
export function rowsPerBinding(weight: QuantisedWeight): number {
  return Math.max(64, Math.floor(BINDING / ((weight.data.shape[1] ?? 1) * 4) / 64) * 64);
}

/** A quantised matrix in shards that a binding holds. */
export function shardsOf(weight: QuantisedWeight): { readonly first: number; readonly table: QuantisedWeight }[] {
  const rows = rowsPerBinding(weight);
  return Array.from({ length: Math.ceil(weight.rows / rows) }, (_, i) => ({ first: i * rows, table: weightRows(weight, i * rows, Math.min(rows, weight.rows - i * rows)) as QuantisedWeight }));
}

/** Which axis (0 time, 1 height, 2 width) each rotary angle turns with: in runs, axis after axis (Qwen2, 2.5), or interleaved (Qwen3). */
export function mropeAxes(config: ModelConfig): number[] {
  const { mropeSection } = config;
  if (!config.mropeInterleaved) return mropeSection.flatMap((count, i) => Array.from({ length: count }, () => i % 3));
  // Angle j is of axis j mod 3 below three times the count of that axis, and of time beyond.
  return Array.from({ length: config.headDim / 2 }, (_, j) => (j < 3 * mropeSection[j % 3]! ? j % 3 : 0));
}

/** Rotary frequencies of the text tower: theta^(-2j / headDim). */
export function textFrequencies(config: ModelConfig): number[] {
  return Array.from({ length: config.headDim / 2 }, (_, j) => config.ropeTheta ** ((-2 * j) / config.headDim));
}

/** Rotary frequencies of the vision tower: 10000^(-2i / (headDim / 2)), the same for rows and columns. */
export function visionFrequencies(config: ModelConfig): number[] {
  const half = config.vision.headDim / 2;
  return Array.from({ length: half }, (_, j) => 10000 ** ((-2 * (j % (half / 2))) / half));
}

function projection(x: Tensor, weight: Weight, bias: Tensor | undefined, factors: LoraFactors | undefined, residual?: Tensor): Tensor {
  return linear(x, weight, {
    ...(bias === undefined ? {} : { bias }),
    ...(residual === undefined ? {} : { residual }),
    ...(factors === undefined ? {} : { factors }),
  });
}
