import { describe, expect, it } from 'vitest';
import { goldenJson } from '../test/golden.ts';
import { configToJson } from './config-json.ts';
import { parseConfig } from './config.ts';
import { ModelError } from './errors.ts';

const flat = goldenJson('model/config.json');
const TEXT_KEYS = ['hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads', 'num_key_value_heads', 'rms_norm_eps', 'vocab_size', 'hidden_act', 'max_position_embeddings', 'initializer_range'];

function nested(extraText: Record<string, unknown>, extraRoot: Record<string, unknown> = {}): Record<string, unknown> {
  const root: Record<string, unknown> = { ...flat, ...extraRoot };
  const text: Record<string, unknown> = { model_type: 'qwen2_5_vl_text', ...extraText };
  for (const key of TEXT_KEYS) {
    text[key] = flat[key];
    delete root[key];
  }
  delete root['rope_theta'];
  delete root['rope_scaling'];
  return { ...root, text_config: text };
}

describe('parseConfig', () => {
  it('reads the flat published layout', () => {
    const config = parseConfig(flat);
    expect(config).toMatchObject({
      modelType: 'qwen2_5_vl', hiddenSize: 64, numHiddenLayers: 2, numAttentionHeads: 4, numKeyValueHeads: 2, headDim: 16,
      intermediateSize: 112, rmsNormEps: 1e-6, ropeTheta: 1e6, mropeSection: [2, 3, 3], tieWordEmbeddings: true, vocabSize: 528,
      imageTokenId: 510, videoTokenId: 511, visionStartTokenId: 507, visionEndTokenId: 508, bosTokenId: 498, eosTokenId: 500, dtype: 'float32',
    });
    expect(config.vision).toMatchObject({
      depth: 3, hiddenSize: 32, intermediateSize: 52, numHeads: 2, headDim: 16, patchSize: 14, temporalPatchSize: 2, spatialMergeSize: 2,
      windowSize: 112, fullattBlockIndexes: [1], inChannels: 3, outHiddenSize: 64, tokensPerSecond: 2,
    });
  });

  it('reads the nested and the v5 layout as the same model', () => {
    const rope = { rope_type: 'default', mrope_section: [2, 3, 3] };
    const expected = parseConfig(flat);
    expect(parseConfig(nested({ rope_theta: 1e6, rope_scaling: { ...rope, type: 'default' }, tie_word_embeddings: true }))).toEqual(expected);
    expect(parseConfig(nested({ rope_parameters: { ...rope, rope_theta: 1e6 }, dtype: 'float32' }, { torch_dtype: undefined }))).toEqual(expected);
    expect(parseConfig(nested({ rope_parameters: { ...rope, rope_theta: 1e6 }, tie_word_embeddings: true }, { tie_word_embeddings: undefined }))).toEqual(expected);
    // Where the root says the default, the text part counts (files from before version 5).
    expect(parseConfig(nested({ rope_parameters: { ...rope, rope_theta: 1e6 }, tie_word_embeddings: true, layer_types: ['full_attention', 'full_attention'] }, { tie_word_embeddings: false }))).toEqual(expected);
    // Token ids of the text part, and nulls beside those of the root.
    expect(parseConfig(nested({ rope_theta: 1e6, rope_scaling: rope, vision_start_token_id: 507, image_token_id: null }, { vision_start_token_id: undefined }))).toEqual(expected);
  });

  it('takes the ids of the published vocabulary where a file leaves them out', () => {
    const { image_token_id: _image, video_token_id: _video, vision_start_token_id: _start, vision_end_token_id: _end, ...rest } = flat;
    expect(parseConfig({ ...rest, vocab_size: 151936 })).toMatchObject({ imageTokenId: 151655, videoTokenId: 151656, visionStartTokenId: 151652, visionEndTokenId: 151653 });
    expect(() => parseConfig(rest)).toThrow(/_token_id/);
  });

  it('reads Qwen2-VL and Qwen3-VL as variants of the same parts', () => {
    const qwen2 = parseConfig({
      ...flat, model_type: 'qwen2_vl', architectures: ['Qwen2VLForConditionalGeneration'],
      vision_config: { depth: 2, embed_dim: 32, hidden_size: 64, mlp_ratio: 4, num_heads: 2, in_chans: 3, patch_size: 14, spatial_merge_size: 2, temporal_patch_size: 2, hidden_act: 'quick_gelu' },
    });
    expect(qwen2).toMatchObject({ modelType: 'qwen2_vl', attentionBias: true, qkNorm: false });
    expect(qwen2.vision).toMatchObject({ hiddenSize: 32, intermediateSize: 128, outHiddenSize: 64, windowSize: 0, fullattBlockIndexes: [0, 1], norm: 'layer', gatedMlp: false, hiddenAct: 'quick_gelu' });
    const qwen3 = parseConfig({
      ...nested({ head_dim: 32, rope_theta: 5e6, rope_scaling: { rope_type: 'default', mrope_section: [6, 5, 5], mrope_interleaved: true } }),
      model_type: 'qwen3_vl',
      vision_config: { depth: 3, hidden_size: 32, intermediate_size: 64, num_heads: 2, in_channels: 3, patch_size: 16, out_hidden_size: 64, num_position_embeddings: 16, deepstack_visual_indexes: [0, 1], spatial_merge_size: 2, temporal_patch_size: 2 },
    });
    expect(qwen3).toMatchObject({ modelType: 'qwen3_vl', headDim: 32, attentionBias: false, qkNorm: true, mropeInterleaved: true, ropeTheta: 5e6 });
    expect(qwen3.vision).toMatchObject({ patchEmbedBias: true, numPositionEmbeddings: 16, deepstackVisualIndexes: [0, 1], hiddenAct: 'gelu_pytorch_tanh' });
    // Without mrope_section: that of transformers; attention_bias is on all four projections.
    const { text_config: text, vision_config: vision } = nested({ head_dim: 128, attention_bias: true, rope_parameters: { rope_type: 'default', rope_theta: 5e6 } });
    expect(parseConfig({ ...flat, model_type: 'qwen3_vl', text_config: text, vision_config: { ...(vision as object), deepstack_visual_indexes: [0], hidden_act: 'gelu_pytorch_tanh' }, rope_scaling: undefined }))
      .toMatchObject({ mropeSection: [24, 20, 20], attentionBias: true, attentionOutputBias: true });
    for (const config of [qwen2, qwen3, parseConfig(flat)]) expect(parseConfig(configToJson(config))).toEqual(config);
  });

  it('keeps every token that ends an answer, and takes those outside of the vocabulary as none', () => {
    const several = parseConfig({ ...flat, eos_token_id: [500, 498, 500], bos_token_id: 151643, pad_token_id: -1 });
    expect(several).toMatchObject({ eosTokenId: 500, eosTokenIds: [500, 498], bosTokenId: null, padTokenId: null });
    expect(parseConfig(configToJson(several))).toEqual(several);
    expect(parseConfig({ ...flat, eos_token_id: [151645, 498] })).toMatchObject({ eosTokenId: 498, eosTokenIds: [498] });
    expect(parseConfig({ ...flat, eos_token_id: 528 })).toMatchObject({ eosTokenId: null, eosTokenIds: [] });
  });

  it('asks for a sliding window only where a layer would have one', () => {
    const sliding = (fields: object) => () => parseConfig({ ...flat, use_sliding_window: true, sliding_window: 4, ...fields });
    expect(sliding({ max_window_layers: 1 })).toThrow(expect.objectContaining({ code: 'unsupported', argument: 'config.use_sliding_window' }));
    // Transformers 5.18: full_attention in both layers.
    for (const full of [{ max_window_layers: 2 }, { max_window_layers: 99 }, { max_window_layers: undefined }, { max_window_layers: 0, layer_types: ['full_attention', 'full_attention'] }]) expect(sliding(full)()).toEqual(parseConfig(flat));
  });

  it('has the defaults of transformers for a Qwen3-VL text part that leaves fields out', () => {
    const { text_config: text, vision_config: vision, ...root } = nested({ num_attention_heads: 4 });
    const { max_position_embeddings: _positions, rms_norm_eps: _eps, ...bare } = text as Record<string, unknown>;
    const config = parseConfig({ ...root, model_type: 'qwen3_vl', text_config: bare, vision_config: { ...(vision as object), deepstack_visual_indexes: [0], hidden_act: 'gelu_pytorch_tanh' } });
    // Those of Qwen3VLTextConfig(hidden_size=64, num_attention_heads=4) in 5.18.
    expect(config).toMatchObject({ ropeTheta: 500000, maxPositionEmbeddings: 128000, headDim: 128, rmsNormEps: 1e-6 });
  });

  it.each([
    ['hidden_size', 0, 'config.hidden_size'],
    ['hidden_size', '64', 'config.hidden_size'],
    ['num_key_value_heads', 3, 'config.num_key_value_heads'],
    ['num_hidden_layers', 1e9, 'config.num_hidden_layers'],
    ['rms_norm_eps', -1, 'config.rms_norm_eps'],
    ['rope_scaling', { type: 'mrope', mrope_section: [2, 3, 4] }, 'config.rope_scaling.mrope_section'],
    ['rope_scaling', undefined, 'config.rope_scaling'],
    ['rope_scaling', { type: 'yarn', mrope_section: [2, 3, 3] }, 'config.rope_scaling.type'],
    ['hidden_act', 'relu', 'config.hidden_act'],
    ['layer_types', ['full_attention', 'sliding_attention'], 'config.layer_types'],
    ['quantization_config', { quant_method: 'bitsandbytes' }, 'config.quantization_config'],
    ['vision_config', { ...(flat['vision_config'] as object), rope_parameters: { rope_type: 'axial', rope_theta: 5000 } }, 'config.vision_config.rope_parameters.rope_theta'],
    ['image_token_id', 528, 'config.image_token_id'],
    ['model_type', 'llama', 'config.model_type'],
    ['torch_dtype', 'float8', 'config.dtype'],
    ['vision_config', undefined, 'config.vision_config'],
    ['vision_config', { ...(flat['vision_config'] as object), num_heads: 3 }, 'config.vision_config.num_heads'],
    ['vision_config', { ...(flat['vision_config'] as object), out_hidden_size: 32 }, 'config.vision_config.out_hidden_size'],
    ['vision_config', { ...(flat['vision_config'] as object), fullatt_block_indexes: [-1] }, 'config.vision_config.fullatt_block_indexes'],
    ['eos_token_id', 'end', 'config.eos_token_id'],
  ])('names the field: %s = %j', (key, value, argument) => {
    const bad = { ...flat, [key]: value };
    expect(() => parseConfig(bad)).toThrowError(ModelError);
    try {
      parseConfig(bad);
    } catch (error) {
      expect((error as ModelError).argument).toBe(argument);
      expect((error as ModelError).remedy).not.toBe('');
    }
  });
});
