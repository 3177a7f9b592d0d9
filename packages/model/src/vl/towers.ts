/** @file The two towers as plain functions over recorded tensors (arXiv 2502.13923; layer by layer as in transformers). */
import { activate, attention, linear, type LoraFactors, matmul, rmsNorm, rope, swiglu, type Tensor } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';

/** Parameters by name, as tensors of the graph being recorded. */
export type Parameters = (name: string) => Tensor;
/** The low-rank factors on a projection, when there are some. */
export type Factors = (projection: string) => LoraFactors | undefined;

export interface VisionInputs {
  /** [P, patch length] in window order. */
  readonly pixelValues: Tensor;
  /** i32 [2, P]. */
  readonly positions: Tensor;
  readonly rotary: Tensor;
  /** u32 [P, 6] and [P, 2], of windows and of whole frames. */
  readonly window: Segments;
  readonly frame: Segments;
}

export interface Segments {
  readonly queries: Tensor;
  readonly keys: Tensor;
}

/** Called with each intermediate result by name, for tests and inspection. */
export type Observer = (name: string, value: Tensor) => void;

/** Vision tower and merger: [P, patch length] to [P / merge^2, text width], in window order. */
export function visionTower(config: ModelConfig, p: Parameters, f: Factors, inputs: VisionInputs, observe?: Observer): Tensor {
  const v = config.vision;
  const half = v.headDim / 2;
  const axes = Array.from({ length: half }, (_, j) => (j < half / 2 ? 0 : 1));
  let x = matmul(inputs.pixelValues, p('patch_embed'), { transposeB: true });
  observe?.('vision.patch_embed', x);
  for (let i = 0; i < v.depth; i++) {
    const name = (part: string) => `blocks.${i}.${part}`;
    const project = (part: string, input: Tensor, residual?: Tensor) =>
      projection(input, p(`${name(part)}.weight`), p(`${name(part)}.bias`), f(name(part)), residual);
    const segments = v.windowSize === 0 || v.fullattBlockIndexes.includes(i) ? inputs.frame : inputs.window;
    const qkv = rope(project('qkv', rmsNorm(x, p(name('norm1')), VISION_EPS)), inputs.positions, inputs.rotary, { heads: 2 * v.numHeads, headDim: v.headDim, axes });
    const mixed = attention(qkv, qkv, qkv, {
      heads: v.numHeads,
      kvHeads: v.numHeads,
      headDim: v.headDim,
      queryRanges: segments.queries,
      keyRanges: segments.keys,
      columns: [0, v.hiddenSize, 2 * v.hiddenSize],
    });
    x = project('proj', mixed, x);
    x = project('down', swiglu(project('gate_up', rmsNorm(x, p(name('norm2')), VISION_EPS))), x);
    observe?.(`vision.block.${i}`, x);
  }
  const cell = v.hiddenSize * v.spatialMergeSize ** 2;
  const normed = rmsNorm(x, p('merger.ln_q'), VISION_EPS);
  const cells = x.graph.reshape(normed, [(x.shape[0] ?? 0) / v.spatialMergeSize ** 2, cell]);
  const hidden = activate(projection(cells, p('merger.0.weight'), p('merger.0.bias'), f('merger.0')), 'gelu');
  return projection(hidden, p('merger.2.weight'), p('merger.2.bias'), f('merger.2'));
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
  /** Turned q, k and v of layer i in; where keys and values are read from out (a cache that has taken them up). */
  readonly cache?: (layer: number, qkv: Tensor) => { readonly keys: Tensor; readonly kColumn: number; readonly vColumn: number } | undefined;
}

/** The decoder layers, before the last norm: [T, hidden]. */
export function textTower(config: ModelConfig, p: Parameters, f: Factors, inputs: TextInputs, observe?: Observer): Tensor {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim, rmsNormEps } = config;
  const axes = mropeAxes(config);
  const kColumn = heads * headDim;
  const vColumn = (heads + kvHeads) * headDim;
  let x = inputs.embedded;
  observe?.('text.embedded', x);
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const name = (part: string) => `layers.${i}.${part}`;
    const weight = (part: string) => p(`${name(part)}.weight`);
    const normed = rmsNorm(x, p(name('input_layernorm')), rmsNormEps);
    const qkv = rope(projection(normed, weight('qkv'), config.attentionBias ? p(`${name('qkv')}.bias`) : undefined, f(name('qkv'))), inputs.positions, inputs.rotary, {
      heads: heads + kvHeads,
      headDim,
      axes,
    });
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
    x = projection(mixed, weight('o'), undefined, f(name('o')), x);
    const ff = swiglu(projection(rmsNorm(x, p(name('post_attention_layernorm')), rmsNormEps), weight('gate_up'), undefined, f(name('gate_up'))));
    x = projection(ff, weight('down'), undefined, f(name('down')), x);
    observe?.(`text.layer.${i}`, x);
  }
  return x;
}

/** Which axis (0 time, 1 height, 2 width) each rotary angle turns with: in runs (Qwen2, 2.5) or interleaved (Qwen3). */
export function mropeAxes(config: ModelConfig): number[] {
  const [t, h, w] = config.mropeSection;
  const half = config.headDim / 2;
  if (!config.mropeInterleaved) return Array.from({ length: half }, (_, j) => (j < t ? 0 : j < t + h ? 1 : 2));
  const axes = Array.from({ length: half }, () => 0);
  for (const [axis, section] of [[1, h], [2, w]] as const) for (let j = axis; j < 3 * section && j < half; j += 3) axes[j] = axis;
  return axes;
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

function projection(x: Tensor, weight: Tensor, bias: Tensor | undefined, factors: LoraFactors | undefined, residual?: Tensor): Tensor {
  return linear(x, weight, {
    ...(bias === undefined ? {} : { bias }),
    ...(residual === undefined ? {} : { residual }),
    ...(factors === undefined ? {} : { factors }),
  });
}
