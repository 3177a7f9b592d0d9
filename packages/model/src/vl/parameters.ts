/** @file The parameters of a model as they lie in memory, and which rows of them each tensor of a checkpoint is. */
import type { ParameterSpec } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';

/** A tensor of the checkpoint inside a parameter: projections that read the same input lie below each other in one. */
export interface ParameterPart {
  /** In-memory name of the checkpoint's tensor (`model.language_model.layers.0.self_attn.q_proj.weight`). */
  readonly tensor: string;
  readonly shape: readonly number[];
  readonly parameter: string;
  /** First row of the part. */
  readonly row: number;
}

export interface ParameterLayout {
  readonly specs: readonly ParameterSpec[];
  readonly parts: readonly ParameterPart[];
}

/** Names of the projections of a text layer that are computed as one, with their rows. */
export interface FusedProjection {
  /** Parameter (without `.weight`), such as `layers.0.qkv`. */
  readonly name: string;
  readonly inFeatures: number;
  readonly modules: readonly { readonly name: string; readonly outFeatures: number }[];
}

const TEXT = 'model.language_model';
const VISION = 'model.visual';

/** The four fused projections of text layer `i`. */
export function textProjections(config: ModelConfig, i: number): readonly FusedProjection[] {
  const { hiddenSize, headDim, numAttentionHeads, numKeyValueHeads, intermediateSize } = config;
  const layer = `${TEXT}.layers.${i}`;
  return [
    {
      name: `layers.${i}.qkv`,
      inFeatures: hiddenSize,
      modules: [
        { name: `${layer}.self_attn.q_proj`, outFeatures: numAttentionHeads * headDim },
        { name: `${layer}.self_attn.k_proj`, outFeatures: numKeyValueHeads * headDim },
        { name: `${layer}.self_attn.v_proj`, outFeatures: numKeyValueHeads * headDim },
      ],
    },
    { name: `layers.${i}.o`, inFeatures: numAttentionHeads * headDim, modules: [{ name: `${layer}.self_attn.o_proj`, outFeatures: hiddenSize }] },
    {
      name: `layers.${i}.gate_up`,
      inFeatures: hiddenSize,
      modules: [
        { name: `${layer}.mlp.gate_proj`, outFeatures: intermediateSize },
        { name: `${layer}.mlp.up_proj`, outFeatures: intermediateSize },
      ],
    },
    { name: `layers.${i}.down`, inFeatures: intermediateSize, modules: [{ name: `${layer}.mlp.down_proj`, outFeatures: hiddenSize }] },
  ];
}

/** The fused and plain projections of vision block `i`, and of the merger for i = depth. */
export function visionProjections(config: ModelConfig, i: number): readonly FusedProjection[] {
  const v = config.vision;
  if (i === v.depth) {
    const cell = v.hiddenSize * v.spatialMergeSize ** 2;
    return [
      { name: 'merger.0', inFeatures: cell, modules: [{ name: `${VISION}.merger.mlp.0`, outFeatures: cell }] },
      { name: 'merger.2', inFeatures: cell, modules: [{ name: `${VISION}.merger.mlp.2`, outFeatures: v.outHiddenSize }] },
    ];
  }
  const block = `${VISION}.blocks.${i}`;
  return [
    { name: `blocks.${i}.qkv`, inFeatures: v.hiddenSize, modules: [{ name: `${block}.attn.qkv`, outFeatures: 3 * v.hiddenSize }] },
    { name: `blocks.${i}.proj`, inFeatures: v.hiddenSize, modules: [{ name: `${block}.attn.proj`, outFeatures: v.hiddenSize }] },
    {
      name: `blocks.${i}.gate_up`,
      inFeatures: v.hiddenSize,
      modules: [
        { name: `${block}.mlp.gate_proj`, outFeatures: v.intermediateSize },
        { name: `${block}.mlp.up_proj`, outFeatures: v.intermediateSize },
      ],
    },
    { name: `blocks.${i}.down`, inFeatures: v.intermediateSize, modules: [{ name: `${block}.mlp.down_proj`, outFeatures: v.hiddenSize }] },
  ];
}

class LayoutBuilder {
  readonly specs: ParameterSpec[] = [];
  readonly parts: ParameterPart[] = [];

  tensor(parameter: string, tensor: string, shape: readonly number[]): void {
    this.specs.push({ name: parameter, shape });
    this.parts.push({ tensor, shape, parameter, row: 0 });
  }

  projection(p: FusedProjection, bias: (module: string) => boolean): void {
    const rows = p.modules.reduce((n, m) => n + m.outFeatures, 0);
    this.specs.push({ name: `${p.name}.weight`, shape: [rows, p.inFeatures] });
    const withBias = p.modules.some((m) => bias(m.name));
    if (withBias) this.specs.push({ name: `${p.name}.bias`, shape: [rows] });
    let row = 0;
    for (const m of p.modules) {
      this.parts.push({ tensor: `${m.name}.weight`, shape: [m.outFeatures, p.inFeatures], parameter: `${p.name}.weight`, row });
      if (withBias) this.parts.push({ tensor: `${m.name}.bias`, shape: [m.outFeatures], parameter: `${p.name}.bias`, row });
      row += m.outFeatures;
    }
  }
}

/** Parameters of the text tower (and its head). */
export function textParameters(config: ModelConfig): ParameterLayout {
  const b = new LayoutBuilder();
  const { hiddenSize, vocabSize, numHiddenLayers } = config;
  b.tensor('embed_tokens', `${TEXT}.embed_tokens.weight`, [vocabSize, hiddenSize]);
  for (let i = 0; i < numHiddenLayers; i++) {
    b.tensor(`layers.${i}.input_layernorm`, `${TEXT}.layers.${i}.input_layernorm.weight`, [hiddenSize]);
    b.tensor(`layers.${i}.post_attention_layernorm`, `${TEXT}.layers.${i}.post_attention_layernorm.weight`, [hiddenSize]);
    for (const p of textProjections(config, i)) b.projection(p, (m) => config.attentionBias && /[qkv]_proj$/.test(m));
  }
  b.tensor('norm', `${TEXT}.norm.weight`, [hiddenSize]);
  if (!config.tieWordEmbeddings) b.tensor('lm_head', 'lm_head.weight', [vocabSize, hiddenSize]);
  return b;
}

/** Parameters of the vision tower and its merger. */
export function visionParameters(config: ModelConfig): ParameterLayout {
  const b = new LayoutBuilder();
  const v = config.vision;
  b.specs.push({ name: 'patch_embed', shape: [v.hiddenSize, patchLength(config)] });
  b.parts.push({ tensor: `${VISION}.patch_embed.proj.weight`, shape: [v.hiddenSize, v.inChannels, v.temporalPatchSize, v.patchSize, v.patchSize], parameter: 'patch_embed', row: 0 });
  for (let i = 0; i < v.depth; i++) {
    b.tensor(`blocks.${i}.norm1`, `${VISION}.blocks.${i}.norm1.weight`, [v.hiddenSize]);
    b.tensor(`blocks.${i}.norm2`, `${VISION}.blocks.${i}.norm2.weight`, [v.hiddenSize]);
    for (const p of visionProjections(config, i)) b.projection(p, () => true);
  }
  b.tensor('merger.ln_q', `${VISION}.merger.ln_q.weight`, [v.hiddenSize]);
  for (const p of visionProjections(config, v.depth)) b.projection(p, () => true);
  return b;
}

/** Numbers in one patch as the tower takes it. */
export function patchLength(config: ModelConfig): number {
  const { inChannels, temporalPatchSize, patchSize } = config.vision;
  return inChannels * temporalPatchSize * patchSize ** 2;
}
