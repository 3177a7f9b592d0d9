/**
 * @file The architecture of a checkpoint, read from its `config.json`.
 *
 * Three layouts are in use for the same model and all are read: flat (published Qwen2.5-VL files: text fields at the
 * root), nested (`text_config`, transformers 4.5x) and v5 (`rope_parameters`, `dtype`). Qwen2-VL and Qwen3-VL are the
 * same parts put together in another way; the fields say how, so that the forward pass asks the config and never the name.
 */
import { ModelError } from './errors.ts';
import { Fields, isObject, type JsonObject } from './json-fields.ts';

export type ModelType = 'qwen2_5_vl' | 'qwen2_vl' | 'qwen3_vl';
export type TorchDtype = 'float32' | 'bfloat16' | 'float16';
export type VisionActivation = 'silu' | 'quick_gelu' | 'gelu_pytorch_tanh';

/** The vision tower. Sizes in pixels where the name says so, else in features or patches. */
export interface VisionConfig {
  readonly depth: number;
  /** Width of the residual stream of the tower. (Qwen2-VL files call it `embed_dim`.) */
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly inChannels: number;
  /** Side of a patch, pixels. */
  readonly patchSize: number;
  /** Frames in a patch. */
  readonly temporalPatchSize: number;
  /** Patches on a side of the cell that becomes one token. */
  readonly spatialMergeSize: number;
  /** Side of an attention window, pixels; 0 when every block attends over the whole frame. */
  readonly windowSize: number;
  /** Blocks that attend over the whole frame; all of them when `windowSize` is 0. */
  readonly fullattBlockIndexes: readonly number[];
  /** Width of the tokens handed to the text tower. */
  readonly outHiddenSize: number;
  readonly tokensPerSecond: number;
  readonly hiddenAct: VisionActivation;
  /** `rms`: RMSNorm (Qwen2.5-VL); `layer`: LayerNorm with bias (Qwen2-VL, Qwen3-VL). */
  readonly norm: 'rms' | 'layer';
  /** Gated (gate, up, down) or plain (fc1, fc2) feed-forward. */
  readonly gatedMlp: boolean;
  readonly patchEmbedBias: boolean;
  /** Entries of the learned position table (a square), 0 without one. */
  readonly numPositionEmbeddings: number;
  /** Vision blocks with a merger each, whose outputs are added behind the first text layers in the order of the blocks (Qwen3-VL's DeepStack); empty without. */
  readonly deepstackVisualIndexes: readonly number[];
}

/** A whole model. Text fields at the root, as in the published files. */
export interface ModelConfig {
  readonly modelType: ModelType;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** How many of the headDim/2 rotary frequencies turn with time, height and width, and from time on again. */
  readonly mropeSection: readonly number[];
  /** Frequencies of the three axes alternate (Qwen3-VL, whatever the file says) instead of lying in runs. */
  readonly mropeInterleaved: boolean;
  /** Biases on the q, k and v projections. */
  readonly attentionBias: boolean;
  /** Bias on the o projection too: Qwen3-VL's `attention_bias` speaks for all four. */
  readonly attentionOutputBias: boolean;
  /** RMSNorm of every head's query and key before the rotation (Qwen3-VL). */
  readonly qkNorm: boolean;
  readonly tieWordEmbeddings: boolean;
  readonly maxPositionEmbeddings: number;
  readonly initializerRange: number;
  /** The dtype the file says its weights have. */
  readonly dtype: TorchDtype;
  readonly bosTokenId: number | null;
  /** The first of `eosTokenIds`. */
  readonly eosTokenId: number | null;
  /** Every token that ends an answer; a file may list several. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | null;
  readonly visionStartTokenId: number;
  readonly visionEndTokenId: number;
  readonly imageTokenId: number;
  readonly videoTokenId: number;
  readonly vision: VisionConfig;
}

/**
 * Reads a parsed `config.json`.
 * @throws ModelError `invalid-config` for a missing or impossible field, `unsupported` for another architecture,
 * another activation, a sliding window or a rotary scaling other than M-RoPE.
 */
export function parseConfig(json: unknown): ModelConfig {
  if (!isObject(json)) {
    throw new ModelError('invalid-config', { argument: 'config', value: json, message: 'must be the object of a config.json', remedy: 'Pass JSON.parse of the file.' });
  }
  const root: Fields = new Fields(json, 'config');
  const modelType = modelTypeOf(root);
  const qwen3 = modelType === 'qwen3_vl';
  const nested = root.object('text_config');
  // A field of the text tower lies in text_config when there is one; a few files repeat or leave some of them at the root.
  const text: Fields = new Fields(nested === undefined ? json : { ...textFieldsOf(json), ...withoutNulls(nested) }, nested ? 'config.text_config' : 'config');
  const visionJson = root.object('vision_config');
  if (visionJson === undefined) root.fail('vision_config', 'is missing', 'Use a checkpoint of a vision-language model.');

  const hiddenSize = text.integer('hidden_size');
  const numAttentionHeads = text.integer('num_attention_heads', { max: 4096 });
  const numKeyValueHeads = text.integer('num_key_value_heads', { max: 4096, fallback: numAttentionHeads });
  if (numAttentionHeads % numKeyValueHeads !== 0) text.fail('num_key_value_heads', `must divide num_attention_heads (${numAttentionHeads})`, 'Correct the field.');
  if (!qwen3 && text.raw('head_dim') === undefined && hiddenSize % numAttentionHeads !== 0) {
    text.fail('hidden_size', `must be a multiple of num_attention_heads (${numAttentionHeads}) when head_dim is not given`, 'Give head_dim.');
  }
  // Defaults here and below are those of the classes in transformers.
  const headDim = text.integer('head_dim', { max: 4096, fallback: qwen3 ? 128 : Math.trunc(hiddenSize / numAttentionHeads) });
  if (headDim % 2 !== 0) text.fail('head_dim', 'must be even for rotary positions', 'Correct the field.');
  if (text.string('hidden_act', 'silu') !== 'silu') unsupported('hidden_act', text.raw('hidden_act'), 'only silu is computed');
  const numHiddenLayers = text.integer('num_hidden_layers', { max: 1024 });
  const layerTypes = text.raw('layer_types');
  // Transformers asks for a window only where it is not told the kinds of the layers, and only from max_window_layers on.
  if (!qwen3 && layerTypes === undefined && text.boolean('use_sliding_window', false) && text.integer('max_window_layers', { fallback: 80, min: 0 }) < numHiddenLayers) unsupported('use_sliding_window', true, 'attention over a sliding window is not computed');
  if (layerTypes !== undefined && !(Array.isArray(layerTypes) && layerTypes.every((type) => type === 'full_attention'))) unsupported('layer_types', layerTypes, 'only full_attention is computed');
  const quantised = root.raw('quantization_config') ?? text.raw('quantization_config');
  if (quantised !== undefined) unsupported('quantization_config', quantised, 'weights are read in whole floats and quantised here (the option `quantise`)');

  const rope = ropeOf(text, root, headDim, modelType);
  const vocabSize = text.integer('vocab_size');
  // The defaults of the classes in transformers; some nested files leave a few of them out, or keep them with the text.
  const tokenId = (key: string, fallback: number): number => (root.raw(key) === undefined ? text : root).integer(key, { fallback, min: 0, max: vocabSize - 1 });
  const eosTokenIds = tokenIds(root, text, 'eos_token_id', vocabSize);
  const config: ModelConfig = {
    modelType,
    hiddenSize,
    intermediateSize: text.integer('intermediate_size'),
    numHiddenLayers,
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    vocabSize,
    rmsNormEps: text.number('rms_norm_eps', { fallback: qwen3 ? 1e-6 : 1e-5, min: 1e-12, max: 1 }),
    ...rope,
    attentionBias: qwen3 ? text.boolean('attention_bias', false) : true,
    attentionOutputBias: qwen3 && text.boolean('attention_bias', false),
    qkNorm: qwen3,
    // Where the two places differ, transformers ties: files from before version 5 have it with the text only.
    tieWordEmbeddings: root.boolean('tie_word_embeddings', false) || text.boolean('tie_word_embeddings', false),
    maxPositionEmbeddings: text.integer('max_position_embeddings', { fallback: qwen3 ? 128000 : 32768, max: 2 ** 31 - 1 }),
    initializerRange: text.number('initializer_range', { fallback: 0.02, min: 0, max: 100 }),
    dtype: dtypeOf(root, text),
    bosTokenId: tokenIds(root, text, 'bos_token_id', vocabSize)[0] ?? null,
    eosTokenId: eosTokenIds[0] ?? null,
    eosTokenIds,
    padTokenId: tokenIds(root, text, 'pad_token_id', vocabSize)[0] ?? null,
    visionStartTokenId: tokenId('vision_start_token_id', 151652),
    visionEndTokenId: tokenId('vision_end_token_id', 151653),
    imageTokenId: tokenId('image_token_id', 151655),
    videoTokenId: tokenId('video_token_id', 151656),
    vision: parseVision(visionJson, modelType, hiddenSize),
  };
  if (config.imageTokenId === config.videoTokenId) root.fail('video_token_id', 'must differ from image_token_id', 'Correct the field.');
  if (config.vision.outHiddenSize !== hiddenSize) {
    new Fields(visionJson, 'config.vision_config').fail('out_hidden_size', `must equal the text hidden_size ${hiddenSize}`, 'Correct the field.');
  }
  return config;
}

const TYPES: Readonly<Record<string, ModelType>> = {
  qwen2_5_vl: 'qwen2_5_vl',
  qwen2_vl: 'qwen2_vl',
  qwen3_vl: 'qwen3_vl',
};

const ARCHITECTURES: Readonly<Record<string, ModelType>> = {
  Qwen2_5_VLForConditionalGeneration: 'qwen2_5_vl',
  Qwen2VLForConditionalGeneration: 'qwen2_vl',
  Qwen3VLForConditionalGeneration: 'qwen3_vl',
};

function modelTypeOf(root: Fields): ModelType {
  const name = root.raw('model_type');
  const architectures = root.raw('architectures');
  const architecture: unknown = Array.isArray(architectures) ? architectures[0] : undefined;
  const found =
    typeof name === 'string'
      ? own(TYPES, name)
      : typeof architecture === 'string'
        ? own(ARCHITECTURES, architecture)
        : undefined;
  if (found === undefined) unsupported('model_type', name ?? architecture, `is none of ${Object.keys(TYPES).join(', ')}`);
  return found;
}

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** Root fields that some nested files keep outside of text_config. */
function textFieldsOf(json: JsonObject): JsonObject {
  const { vision_config: _vision, text_config: _text, ...rest } = json;
  return rest;
}

function withoutNulls(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
}

function ropeOf(text: Fields, root: Fields, headDim: number, modelType: ModelType): Pick<ModelConfig, 'ropeTheta' | 'mropeSection' | 'mropeInterleaved'> {
  const qwen3 = modelType === 'qwen3_vl';
  const key = text.raw('rope_parameters') !== undefined ? 'rope_parameters' : 'rope_scaling';
  // Qwen3-VL alone has a default (that of transformers).
  const object = text.object(key) ?? root.object(key) ?? (qwen3 ? {} : undefined);
  if (object === undefined) text.fail('rope_scaling', 'is missing', 'M-RoPE needs mrope_section, in rope_scaling or rope_parameters.');
  const rope: Fields = new Fields(object, `config.${key}`);
  for (const field of ['rope_type', 'type']) {
    const type = rope.raw(field);
    if (type !== undefined && type !== 'mrope' && type !== 'default') unsupported(`${key}.${field}`, type, 'only mrope (or default) is computed');
  }
  const mropeSection = rope.integers('mrope_section', qwen3 ? { fallback: [24, 20, 20] } : {});
  // Interleaved, what is not for height and width is for time, whatever the sum; runs have to be as long as the angles.
  if (qwen3 && mropeSection.length < 3) rope.fail('mrope_section', 'must have counts for time, height and width', 'Correct the field.');
  if (!qwen3 && mropeSection.reduce((a, b) => a + b, 0) !== headDim / 2) rope.fail('mrope_section', `must be counts with the sum head_dim / 2 = ${headDim / 2}`, 'Correct the field.');
  const theta = new Fields({ rope_theta: rope.raw('rope_theta') ?? text.raw('rope_theta') ?? root.raw('rope_theta') }, 'config');
  return {
    ropeTheta: theta.number('rope_theta', { fallback: qwen3 ? 5e5 : 1e6, min: 1, max: 1e12 }),
    mropeSection,
    mropeInterleaved: qwen3,
  };
}

function dtypeOf(root: Fields, text: Fields): TorchDtype {
  const value = root.raw('dtype', 'torch_dtype') ?? text.raw('dtype', 'torch_dtype') ?? 'bfloat16';
  const name = typeof value === 'string' ? value.replace(/^torch\./, '') : value;
  if (name === 'float32' || name === 'bfloat16' || name === 'float16') return name;
  return unsupported('dtype', value, 'weights are read as float32, bfloat16 or float16');
}

/** The token ids of a field that may be absent, one number or a list. Those outside of the vocabulary, as -1, name no token. */
function tokenIds(root: Fields, text: Fields, key: string, vocabSize: number): number[] {
  const value = root.raw(key) ?? text.raw(key) ?? [];
  const ids = new Fields({ [key]: Array.isArray(value) ? value : [value] }, 'config').integers(key, { min: -Infinity, max: Infinity });
  return [...new Set(ids.filter((id) => id >= 0 && id < vocabSize).map((id) => id + 0))];
}

function parseVision(json: JsonObject, modelType: ModelType, textHidden: number): VisionConfig {
  const fields: Fields = new Fields(json, 'config.vision_config');
  const shared = {
    depth: fields.integer('depth', { max: 1024 }),
    numHeads: fields.integer('num_heads', { max: 4096 }),
    inChannels: fields.integer(fields.raw('in_chans') === undefined ? 'in_channels' : 'in_chans', { fallback: 3, min: 3, max: 3 }),
    patchSize: fields.integer('patch_size', { max: 256 }),
    temporalPatchSize: fields.integer('temporal_patch_size', { fallback: 2, max: 16 }),
    spatialMergeSize: fields.integer('spatial_merge_size', { fallback: 2, max: 16 }),
    // Only videos use it; not always an integer in derived checkpoints.
    tokensPerSecond: fields.number('tokens_per_second', { fallback: modelType === 'qwen2_5_vl' ? 4 : 1, min: 0, max: 1e6 }),
  };
  // Version 5 writes down what was always so.
  const theta = new Fields(fields.object('rope_parameters') ?? {}, 'config.vision_config.rope_parameters').number('rope_theta', { fallback: 10000, min: 0, max: 1e12 });
  if (theta !== 10000) unsupported('vision_config.rope_parameters.rope_theta', theta, 'the vision tower turns with 10000');
  const everyBlock = Array.from({ length: shared.depth }, (_, index) => index);
  switch (modelType) {
    case 'qwen2_5_vl': {
      const hiddenSize = fields.integer('hidden_size');
      const windowSize = fields.integer('window_size', { max: 2 ** 20 });
      const cell = shared.patchSize * shared.spatialMergeSize;
      if (windowSize < cell) fields.fail('window_size', `must hold at least one cell of ${cell} pixels`, 'Correct the field.');
      return {
        ...shared,
        hiddenSize,
        headDim: visionHeadDim(fields, hiddenSize, shared.numHeads),
        intermediateSize: fields.integer('intermediate_size'),
        windowSize,
        fullattBlockIndexes: fields.integers('fullatt_block_indexes'),
        outHiddenSize: fields.integer('out_hidden_size', { fallback: textHidden }),
        hiddenAct: fields.oneOf('hidden_act', ['silu'], 'silu'),
        norm: 'rms',
        gatedMlp: true,
        patchEmbedBias: false,
        numPositionEmbeddings: 0,
        deepstackVisualIndexes: [],
      };
    }
    case 'qwen2_vl': {
      const hiddenSize = fields.integer('embed_dim');
      const ratio = fields.number('mlp_ratio', { fallback: 4, min: 0.01, max: 64 });
      return {
        ...shared,
        hiddenSize,
        headDim: visionHeadDim(fields, hiddenSize, shared.numHeads),
        intermediateSize: Math.max(1, Math.trunc(hiddenSize * ratio)),
        windowSize: 0,
        fullattBlockIndexes: everyBlock,
        outHiddenSize: fields.integer('hidden_size', { fallback: textHidden }),
        hiddenAct: fields.oneOf('hidden_act', ['quick_gelu'], 'quick_gelu'),
        norm: 'layer',
        gatedMlp: false,
        patchEmbedBias: false,
        numPositionEmbeddings: 0,
        deepstackVisualIndexes: [],
      };
    }
    case 'qwen3_vl': {
      const hiddenSize = fields.integer('hidden_size');
      const numPositionEmbeddings = fields.integer('num_position_embeddings', { fallback: 2304 });
      if (!Number.isInteger(Math.sqrt(numPositionEmbeddings))) fields.fail('num_position_embeddings', 'must be a square', 'Correct the field.');
      const deepstackVisualIndexes = fields.integers('deepstack_visual_indexes', { fallback: [8, 16, 24], max: shared.depth - 1 });
      if (new Set(deepstackVisualIndexes).size < deepstackVisualIndexes.length) fields.fail('deepstack_visual_indexes', 'must name a block once', 'Correct the field.');
      return {
        ...shared,
        hiddenSize,
        headDim: visionHeadDim(fields, hiddenSize, shared.numHeads),
        intermediateSize: fields.integer('intermediate_size'),
        windowSize: 0,
        fullattBlockIndexes: everyBlock,
        outHiddenSize: fields.integer('out_hidden_size', { fallback: textHidden }),
        hiddenAct: fields.oneOf('hidden_act', ['gelu_pytorch_tanh'], 'gelu_pytorch_tanh'),
        norm: 'layer',
        gatedMlp: false,
        patchEmbedBias: true,
        numPositionEmbeddings,
        deepstackVisualIndexes,
      };
    }
    default:
      return modelType satisfies never;
  }
}

function visionHeadDim(fields: Fields, hiddenSize: number, numHeads: number): number {
  const headDim = hiddenSize / numHeads;
  // Half of the head turns with height, half with width, and each half in pairs.
  if (!Number.isInteger(headDim) || headDim % 4 !== 0) fields.fail('num_heads', `must split hidden_size ${hiddenSize} into heads of a multiple of 4`, 'Correct the field.');
  return headDim;
}

function unsupported(field: string, value: unknown, message: string): never {
  throw new ModelError('unsupported', { argument: `config.${field}`, value, message, remedy: 'Use a Qwen2.5-VL, Qwen2-VL or Qwen3-VL checkpoint without this setting.' });
}
