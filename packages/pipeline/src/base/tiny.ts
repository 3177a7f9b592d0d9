/** @file The bases: Qwen2.5-VLs of one to four million parameters, and how text is written for them. */
import { compactVocabulary } from '@trimpi/datasets';
import { parseConfig, type ModelConfig, qwenTokenizerConfig, Tokenizer, trainBpe, WORD_PATTERN } from '@trimpi/model';

/** The tokenizer of a base: byte-level BPE in which every word, with the space before it, is one token. */
export function tinyTokenizerFiles(words: readonly string[] = compactVocabulary()): { readonly tokenizer: ReturnType<typeof trainBpe>; readonly config: Record<string, unknown> } {
  const tokenizer = trainBpe([words.map((w) => ` ${w}`).join('')], { vocabSize: 4096, pattern: WORD_PATTERN });
  return { tokenizer, config: qwenTokenizerConfig(tokenizer, TINY_TEMPLATE) };
}

/** Text and images of all messages one behind the other; an answer ends with the end-of-turn token. */
const TINY_TEMPLATE = `{% for message in messages %}{% if message.content is string %} {{ message.content }}{% else %}{% for part in message.content %}{% if part.type == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in part and part.text.strip() %} {{ part.text }}{% endif %}{% endfor %}{% endif %}{% if message.role == 'assistant' %}<|im_end|>{% endif %}{% endfor %}`;

/** Sizes of a base. */
export interface TinySizes {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly intermediate: number;
  readonly visionHidden: number;
  readonly visionDepth: number;
  readonly visionHeads: number;
  readonly visionIntermediate: number;
}

/** 1.6 M parameters: the base of the demo. */
export const TINY_SIZES: TinySizes = { hidden: 160, layers: 4, heads: 4, kvHeads: 2, intermediate: 320, visionHidden: 96, visionDepth: 4, visionHeads: 4, visionIntermediate: 192 };
/** 3.6 M parameters: the base for a GPU. */
export const SMALL_SIZES: TinySizes = { hidden: 192, layers: 6, heads: 6, kvHeads: 2, intermediate: 512, visionHidden: 128, visionDepth: 4, visionHeads: 4, visionIntermediate: 256 };

/** The `config.json` of a base. Patches of 8 pixels merged two by two: cells of 16 pixels (see docs/results/tiny-base.md). */
export function tinyConfigJson(tokenizer: Tokenizer, sizes: TinySizes = TINY_SIZES): Record<string, unknown> {
  const id = (token: string) => tokenizer.encode(token)[0]!;
  const half = sizes.hidden / sizes.heads / 2;
  const time = Math.round(half * 0.25);
  const height = Math.floor((half - time) / 2);
  return {
    architectures: ['Qwen2_5_VLForConditionalGeneration'],
    model_type: 'qwen2_5_vl',
    attention_dropout: 0,
    bos_token_id: id('<|endoftext|>'),
    eos_token_id: id('<|im_end|>'),
    vision_start_token_id: id('<|vision_start|>'),
    vision_end_token_id: id('<|vision_end|>'),
    vision_token_id: id('<|vision_pad|>'),
    image_token_id: id('<|image_pad|>'),
    video_token_id: id('<|video_pad|>'),
    hidden_act: 'silu',
    hidden_size: sizes.hidden,
    intermediate_size: sizes.intermediate,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    initializer_range: 0.02,
    max_position_embeddings: 2048,
    max_window_layers: sizes.layers,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    rope_scaling: { type: 'mrope', mrope_section: [time, height, half - time - height] },
    sliding_window: 2048,
    use_sliding_window: false,
    tie_word_embeddings: true,
    torch_dtype: 'float32',
    use_cache: true,
    vocab_size: Math.ceil(tokenizer.vocabSize / 16) * 16,
    vision_config: {
      depth: sizes.visionDepth,
      hidden_act: 'silu',
      hidden_size: sizes.visionHidden,
      intermediate_size: sizes.visionIntermediate,
      num_heads: sizes.visionHeads,
      in_chans: 3,
      out_hidden_size: sizes.hidden,
      patch_size: 8,
      spatial_merge_size: 2,
      spatial_patch_size: 8,
      temporal_patch_size: 2,
      window_size: 64,
      fullatt_block_indexes: [1, 3].filter((i) => i < sizes.visionDepth),
      tokens_per_second: 2,
    },
  };
}

export interface TinyParts {
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  readonly files: { readonly 'config.json': string; readonly 'tokenizer.json': string; readonly 'tokenizer_config.json': string };
}

export function makeTiny(sizes: TinySizes = TINY_SIZES, words: readonly string[] = compactVocabulary()): TinyParts {
  const { tokenizer: json, config: tokenizerConfig } = tinyTokenizerFiles(words);
  const tokenizer = Tokenizer.parse(json, tokenizerConfig);
  const configJson = tinyConfigJson(tokenizer, sizes);
  return {
    config: parseConfig(configJson),
    tokenizer,
    files: { 'config.json': JSON.stringify(configJson, null, 2), 'tokenizer.json': JSON.stringify(json), 'tokenizer_config.json': JSON.stringify(tokenizerConfig, null, 2) },
  };
}
