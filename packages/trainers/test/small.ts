import { getRopeIndex, type ModelConfig, type ModelOptions, parseConfig, type TokenSequence, VisionLanguageModel } from '@trimpi/model';
import { type Engine, PhiloxStream } from '@trimpi/runtime';
import type { readTrainingState, RlExample, Rollout, SupervisedRow } from '../src/index.ts';

/** A Qwen2.5-VL of a few thousand parameters. */
export const SMALL: ModelConfig = parseConfig({
  model_type: 'qwen2_5_vl', hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, vocab_size: 64,
  max_position_embeddings: 128, rms_norm_eps: 1e-6, rope_theta: 10000, rope_scaling: { type: 'mrope', mrope_section: [2, 1, 1] }, hidden_act: 'silu', tie_word_embeddings: true,
  bos_token_id: 58, eos_token_id: 59, vision_start_token_id: 60, vision_end_token_id: 61, image_token_id: 62, video_token_id: 63,
  vision_config: { depth: 2, hidden_size: 16, intermediate_size: 24, num_heads: 2, in_chans: 3, out_hidden_size: 32, patch_size: 4, spatial_merge_size: 2, temporal_patch_size: 2, window_size: 16, fullatt_block_indexes: [1], tokens_per_second: 2, hidden_act: 'silu' },
});

export function smallModel(engine: Engine, seed = 1, options: ModelOptions = {}): VisionLanguageModel {
  const model = new VisionLanguageModel(engine, SMALL, { maxPositions: 128, maxPatchRows: 16, ...options });
  model.initialise(seed, (_, shape) => 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)));
  return model;
}

/** A row with an image of 2 x 2 cells in front of the given tokens. */
export function withImage(tokens: readonly number[], seed: number): TokenSequence {
  const random = new PhiloxStream(seed);
  const grid = [1, 4, 4] as const;
  const inputIds = [SMALL.visionStartTokenId, 62, 62, 62, 62, SMALL.visionEndTokenId, ...tokens];
  return { inputIds, positionIds: getRopeIndex(inputIds, [grid], SMALL).positionIds, images: [{ gridThw: grid, pixelValues: Float32Array.from({ length: 16 * 96 }, () => random.normal()) }] };
}

/** Prompts with an image, and their twins with more tokens in front of the question. */
export function pairs(count: number): RlExample[] {
  return Array.from({ length: count }, (_, i) => ({ id: `e${i}`, policyFree: withImage([10 + i, 20], i), policyAware: withImage([33, 34, 10 + i, 20], i) }));
}

/** Rewards tokens below 20: something that a few steps can learn. */
export function lowTokens(rollouts: readonly Rollout[]): { low: number[] } {
  return { low: rollouts.map((r) => Array.from(r.completion.tokens).filter((t) => t < 20).length / r.completion.tokens.length) };
}

/** Rows with an image; loss on all but visual tokens. */
export function supervisedRows(count: number): SupervisedRow[] {
  return Array.from({ length: count }, (_, i) => {
    const sequence = withImage([5 + i, 17, 30 - i, 41, ...(i % 2 === 0 ? [9, 8] : [])], i);
    return { sequence, lossMask: Array.from(sequence.inputIds, (id) => (id >= 60 ? 0 : 1)) };
  });
}

type State = Awaited<ReturnType<typeof readTrainingState>>;

/** How far two states of training are apart: for each storage |a - b| / |b|. */
export function distances(a: State, b: State): Map<string, number> {
  return new Map([...b].map(([name, want]) => [name, Math.hypot(...want.map((x, i) => x - a.get(name)![i]!)) / Math.hypot(...want)]));
}
