/** @file The linear modules of a model, by the path PEFT knows them by. */
import type { ModelConfig } from '../config.ts';

/** A matrix [outFeatures, inFeatures] that an adapter may be added to. */
export interface LinearModule {
  /** In-memory path without `.weight`, as `model.language_model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** Every linear layer of the text and the vision tower, in the order of the model, with the head last. */
export function linearModules(config: ModelConfig): LinearModule[] {
  return [...visionModules(config), ...textModules(config), { name: 'lm_head', inFeatures: config.hiddenSize, outFeatures: config.vocabSize }];
}

/** Paths of all modules that are no linear layers, as transformers has them: norms, activations, tables, and what holds others. */
export function otherModules(config: ModelConfig): string[] {
  const { vision, numHiddenLayers } = config;
  const qwen3 = config.modelType === 'qwen3_vl';
  const below = (at: string, names: readonly string[]) => names.map((name) => `${at}.${name}`);
  const each = (at: string, count: number, names: readonly string[]) => Array.from({ length: count }, (_, i) => below(`${at}.${i}`, names)).flat();
  const merger = qwen3 ? ['norm', 'act_fn'] : ['ln_q', 'mlp.1'];
  const leaves = [
    ...below('model.language_model', ['embed_tokens', 'norm', 'rotary_emb']),
    ...each('model.language_model.layers', numHiddenLayers, ['input_layernorm', 'post_attention_layernorm', 'mlp.act_fn', ...(config.qkNorm ? ['self_attn.q_norm', 'self_attn.k_norm'] : [])]),
    ...below('model.visual', ['patch_embed.proj', 'rotary_pos_emb', ...(vision.numPositionEmbeddings > 0 ? ['pos_embed'] : [])]),
    ...each('model.visual.blocks', vision.depth, ['norm1', 'norm2', config.modelType === 'qwen2_vl' ? 'mlp.act' : 'mlp.act_fn']),
    ...below('model.visual.merger', merger),
    ...each('model.visual.deepstack_merger_list', vision.deepstackVisualIndexes.length, merger),
  ];
  const holders = [...leaves, ...linearModules(config).map(({ name }) => name)].flatMap((name) => name.split('.').slice(0, -1).map((_, i, parts) => parts.slice(0, i + 1).join('.')));
  return [...new Set([...leaves, ...holders])];
}

function textModules(config: ModelConfig): LinearModule[] {
  const { hiddenSize, intermediateSize, headDim, numAttentionHeads, numKeyValueHeads } = config;
  const q = numAttentionHeads * headDim;
  const kv = numKeyValueHeads * headDim;
  return Array.from({ length: config.numHiddenLayers }, (_, layer) => {
    const at = `model.language_model.layers.${layer}`;
    return [
      linear(`${at}.self_attn.q_proj`, hiddenSize, q),
      linear(`${at}.self_attn.k_proj`, hiddenSize, kv),
      linear(`${at}.self_attn.v_proj`, hiddenSize, kv),
      linear(`${at}.self_attn.o_proj`, q, hiddenSize),
      linear(`${at}.mlp.gate_proj`, hiddenSize, intermediateSize),
      linear(`${at}.mlp.up_proj`, hiddenSize, intermediateSize),
      linear(`${at}.mlp.down_proj`, intermediateSize, hiddenSize),
    ];
  }).flat();
}

function visionModules(config: ModelConfig): LinearModule[] {
  const { vision } = config;
  const { hiddenSize: width, intermediateSize: inner } = vision;
  const names = config.modelType === 'qwen3_vl' ? { first: 'linear_fc1', second: 'linear_fc2' } : { first: 'fc1', second: 'fc2' };
  const blocks = Array.from({ length: vision.depth }, (_, block) => {
    const at = `model.visual.blocks.${block}`;
    const mlp = vision.gatedMlp
      ? [linear(`${at}.mlp.gate_proj`, width, inner), linear(`${at}.mlp.up_proj`, width, inner), linear(`${at}.mlp.down_proj`, inner, width)]
      : [linear(`${at}.mlp.${names.first}`, width, inner), linear(`${at}.mlp.${names.second}`, inner, width)];
    return [linear(`${at}.attn.qkv`, width, 3 * width), linear(`${at}.attn.proj`, width, width), ...mlp];
  }).flat();
  const cell = width * vision.spatialMergeSize ** 2;
  const merger = (at: string): LinearModule[] =>
    config.modelType === 'qwen3_vl'
      ? [linear(`${at}.linear_fc1`, cell, cell), linear(`${at}.linear_fc2`, cell, vision.outHiddenSize)]
      : [linear(`${at}.mlp.0`, cell, cell), linear(`${at}.mlp.2`, cell, vision.outHiddenSize)];
  return [...blocks, ...merger('model.visual.merger'), ...vision.deepstackVisualIndexes.flatMap((_, i) => merger(`model.visual.deepstack_merger_list.${i}`))];
}

function linear(name: string, inFeatures: number, outFeatures: number): LinearModule {
  return { name, inFeatures, outFeatures };
}
