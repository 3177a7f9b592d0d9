/** @file Writes a config as `config.json` in the layout of the published files, so that transformers loads it. */
import type { ModelConfig, ModelType, VisionConfig } from './config.ts';

const ARCHITECTURE: Readonly<Record<ModelType, string>> = {
  qwen2_5_vl: 'Qwen2_5_VLForConditionalGeneration',
  qwen2_vl: 'Qwen2VLForConditionalGeneration',
  qwen3_vl: 'Qwen3VLForConditionalGeneration',
};

/** The object of a `config.json`: flat for Qwen2-VL and Qwen2.5-VL, nested for Qwen3-VL. `parseConfig` gives the config back. */
export function configToJson(config: ModelConfig): Record<string, unknown> {
  const root = {
    architectures: [ARCHITECTURE[config.modelType]],
    model_type: config.modelType,
    torch_dtype: config.dtype,
    ...(config.bosTokenId === null ? {} : { bos_token_id: config.bosTokenId }),
    ...(config.eosTokenId === null ? {} : { eos_token_id: config.eosTokenIds.length > 1 ? config.eosTokenIds : config.eosTokenId }),
    ...(config.padTokenId === null ? {} : { pad_token_id: config.padTokenId }),
    vision_start_token_id: config.visionStartTokenId,
    vision_end_token_id: config.visionEndTokenId,
    image_token_id: config.imageTokenId,
    video_token_id: config.videoTokenId,
    tie_word_embeddings: config.tieWordEmbeddings,
  };
  const text = {
    attention_dropout: 0,
    hidden_act: 'silu',
    hidden_size: config.hiddenSize,
    initializer_range: config.initializerRange,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositionEmbeddings,
    num_attention_heads: config.numAttentionHeads,
    num_hidden_layers: config.numHiddenLayers,
    num_key_value_heads: config.numKeyValueHeads,
    ...(config.headDim * config.numAttentionHeads === config.hiddenSize && config.modelType !== 'qwen3_vl' ? {} : { head_dim: config.headDim }),
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.ropeTheta,
    use_cache: true,
    vocab_size: config.vocabSize,
  };
  if (config.modelType === 'qwen3_vl') {
    return {
      ...root,
      text_config: {
        model_type: 'qwen3_vl_text',
        ...text,
        attention_bias: config.attentionBias,
        rope_scaling: { rope_type: 'default', mrope_section: config.mropeSection, mrope_interleaved: config.mropeInterleaved },
      },
      vision_config: visionToJson(config.vision, config.modelType),
    };
  }
  return {
    ...root,
    ...text,
    max_window_layers: config.numHiddenLayers,
    sliding_window: 32768,
    use_sliding_window: false,
    rope_scaling: { type: 'mrope', mrope_section: config.mropeSection },
    vision_config: visionToJson(config.vision, config.modelType),
  };
}

function visionToJson(vision: VisionConfig, modelType: ModelType): Record<string, unknown> {
  const shared = {
    depth: vision.depth,
    hidden_act: vision.hiddenAct,
    num_heads: vision.numHeads,
    patch_size: vision.patchSize,
    spatial_merge_size: vision.spatialMergeSize,
    temporal_patch_size: vision.temporalPatchSize,
  };
  switch (modelType) {
    case 'qwen2_5_vl':
      return {
        ...shared,
        model_type: 'qwen2_5_vl',
        hidden_size: vision.hiddenSize,
        intermediate_size: vision.intermediateSize,
        in_chans: vision.inChannels,
        in_channels: vision.inChannels,
        spatial_patch_size: vision.patchSize,
        out_hidden_size: vision.outHiddenSize,
        window_size: vision.windowSize,
        fullatt_block_indexes: vision.fullattBlockIndexes,
        tokens_per_second: vision.tokensPerSecond,
      };
    case 'qwen2_vl':
      return {
        ...shared,
        model_type: 'qwen2_vl',
        embed_dim: vision.hiddenSize,
        hidden_size: vision.outHiddenSize,
        mlp_ratio: vision.intermediateSize / vision.hiddenSize,
        in_chans: vision.inChannels,
        in_channels: vision.inChannels,
        tokens_per_second: vision.tokensPerSecond,
      };
    case 'qwen3_vl':
      return {
        ...shared,
        model_type: 'qwen3_vl',
        hidden_size: vision.hiddenSize,
        intermediate_size: vision.intermediateSize,
        in_channels: vision.inChannels,
        out_hidden_size: vision.outHiddenSize,
        num_position_embeddings: vision.numPositionEmbeddings,
        deepstack_visual_indexes: vision.deepstackVisualIndexes,
        tokens_per_second: vision.tokensPerSecond,
      };
    default:
      return modelType satisfies never;
  }
}
