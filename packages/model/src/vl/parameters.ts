/** @file The parameters of a model as they lie in memory, and which rows of them each tensor of a checkpoint is. */
import type { ParameterSpec } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';
import type { Quantisation } from '../quant/rows.ts';
import type { QuantisedSpec } from '../quant/store.ts';

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

/** The projections of vision block `i`: gate and up are fused where the feed-forward is gated (Qwen2.5-VL). */
export function visionProjections(config: ModelConfig, i: number): readonly FusedProjection[] {
  const v = config.vision;
  const block = `${VISION}.blocks.${i}`;
  const plain = (name: string, module: string, inFeatures: number, outFeatures: number): FusedProjection => ({ name: `blocks.${i}.${name}`, inFeatures, modules: [{ name: `${block}.${module}`, outFeatures }] });
  const [first, second] = config.modelType === 'qwen3_vl' ? ['mlp.linear_fc1', 'mlp.linear_fc2'] : ['mlp.fc1', 'mlp.fc2'];
  return [
    plain('qkv', 'attn.qkv', v.hiddenSize, 3 * v.hiddenSize),
    plain('proj', 'attn.proj', v.hiddenSize, v.hiddenSize),
    ...(v.gatedMlp
      ? [
          {
            name: `blocks.${i}.gate_up`,
            inFeatures: v.hiddenSize,
            modules: [
              { name: `${block}.mlp.gate_proj`, outFeatures: v.intermediateSize },
              { name: `${block}.mlp.up_proj`, outFeatures: v.intermediateSize },
            ],
          },
          plain('down', 'mlp.down_proj', v.intermediateSize, v.hiddenSize),
        ]
      : [plain('up', first!, v.hiddenSize, v.intermediateSize), plain('down', second!, v.intermediateSize, v.hiddenSize)]),
  ];
}

/** Mergers by parameter name: the one behind the tower, and those of DeepStack (Qwen3-VL). */
export function mergerNames(config: ModelConfig): string[] {
  return ['merger', ...config.vision.deepstackVisualIndexes.map((_, k) => `deepstack.${k}`)];
}

/** Where a merger lies in the checkpoint. */
function mergerPath(name: string): string {
  return name === 'merger' ? `${VISION}.merger` : `${VISION}.deepstack_merger_list.${name.slice('deepstack.'.length)}`;
}

/** The two projections of a merger. */
export function mergerProjections(config: ModelConfig, name: string): readonly FusedProjection[] {
  const v = config.vision;
  const cell = v.hiddenSize * v.spatialMergeSize ** 2;
  const [first, second] = config.modelType === 'qwen3_vl' ? ['linear_fc1', 'linear_fc2'] : ['mlp.0', 'mlp.2'];
  return [
    { name: `${name}.0`, inFeatures: cell, modules: [{ name: `${mergerPath(name)}.${first}`, outFeatures: cell }] },
    { name: `${name}.2`, inFeatures: cell, modules: [{ name: `${mergerPath(name)}.${second}`, outFeatures: v.outHiddenSize }] },
  ];
}

/** The head as a projection; adapters that name it apply to it. */
export function headProjection(config: ModelConfig): FusedProjection {
  return { name: 'lm_head', inFeatures: config.hiddenSize, modules: [{ name: 'lm_head', outFeatures: config.vocabSize }] };
}

/** Every projection that an adapter can be on. */
export function allProjections(config: ModelConfig): readonly FusedProjection[] {
  return [
    ...Array.from({ length: config.numHiddenLayers }, (_, i) => textProjections(config, i)).flat(),
    ...Array.from({ length: config.vision.depth }, (_, i) => visionProjections(config, i)).flat(),
    ...mergerNames(config).flatMap((name) => mergerProjections(config, name)),
    headProjection(config),
  ];
}

class LayoutBuilder {
  readonly specs: ParameterSpec[] = [];
  readonly parts: ParameterPart[] = [];

  tensor(parameter: string, tensor: string, shape: readonly number[]): void {
    this.specs.push({ name: parameter, shape });
    this.parts.push({ tensor, shape, parameter, row: 0 });
  }

  /** RMSNorm has a weight, LayerNorm a bias as well. */
  norm(parameter: string, tensor: string, width: number, kind: 'rms' | 'layer'): void {
    this.tensor(parameter, `${tensor}.weight`, [width]);
    if (kind === 'layer') this.tensor(`${parameter}.bias`, `${tensor}.bias`, [width]);
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
    if (config.qkNorm) {
      const { headDim } = config;
      b.specs.push({ name: `layers.${i}.qk_norm`, shape: [2 * headDim] });
      for (const [row, name] of [[0, 'q_norm'], [headDim, 'k_norm']] as const) b.parts.push({ tensor: `${TEXT}.layers.${i}.self_attn.${name}.weight`, shape: [headDim], parameter: `layers.${i}.qk_norm`, row });
    }
    for (const p of textProjections(config, i)) b.projection(p, (m) => (config.attentionBias && /[qkv]_proj$/.test(m)) || (config.attentionOutputBias && m.endsWith('.o_proj')));
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
  if (v.patchEmbedBias) b.tensor('patch_embed.bias', `${VISION}.patch_embed.proj.bias`, [v.hiddenSize]);
  if (v.numPositionEmbeddings > 0) b.tensor('pos_embed', `${VISION}.pos_embed.weight`, [v.numPositionEmbeddings, v.hiddenSize]);
  for (let i = 0; i < v.depth; i++) {
    b.norm(`blocks.${i}.norm1`, `${VISION}.blocks.${i}.norm1`, v.hiddenSize, v.norm);
    b.norm(`blocks.${i}.norm2`, `${VISION}.blocks.${i}.norm2`, v.hiddenSize, v.norm);
    for (const p of visionProjections(config, i)) b.projection(p, () => true);
  }
  for (const name of mergerNames(config)) {
    const path = `${mergerPath(name)}.${config.modelType === 'qwen3_vl' ? 'norm' : 'ln_q'}`;
    // DeepStack norms whole cells, the last merger single patches.
    b.norm(`${name}.ln_q`, path, name === 'merger' ? v.hiddenSize : v.hiddenSize * v.spatialMergeSize ** 2, v.norm);
    for (const p of mergerProjections(config, name)) b.projection(p, () => true);
  }
  return b;
}

/** Numbers in one patch as the tower takes it. */
export function patchLength(config: ModelConfig): number {
  const { inChannels, temporalPatchSize, patchSize } = config.vision;
  return inChannels * temporalPatchSize * patchSize ** 2;
}

/** The matrices that are quantised: all projections as asked for, the embedding table and the head in 8 bits (or 16, when all are). */
export function quantisedSpecs(layouts: { readonly text: ParameterLayout; readonly vision: ParameterLayout }, quantisation: Quantisation): QuantisedSpec[] {
  const ofTables: Quantisation = quantisation.format === 'f16' ? quantisation : { ...quantisation, bits: 8, format: 'nbits' };
  const of = (layout: ParameterLayout, prefix: string) => layout.specs.flatMap(({ name, shape }): QuantisedSpec[] => {
    const [rows, columns] = shape;
    const table = name === 'embed_tokens' || name === 'lm_head';
    if (rows === undefined || columns === undefined || (!table && !name.endsWith('.weight'))) return [];
    return [{ name: `${prefix}${name}`, shape: [rows, columns], quantisation: table ? ofTables : quantisation }];
  });
  return [...of(layouts.text, ''), ...of(layouts.vision, 'visual.')];
}
