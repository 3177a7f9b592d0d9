/** @file Chat messages and images to what the model takes. */
import { compileChatTemplate, partKind, type PlainMessage, plainMessage, type ChatMessage, type ChatTemplate } from './chat.ts';
import { parseConfig, type ModelConfig } from './config.ts';
import { ModelError } from './errors.ts';
import { requireText, type ModelFiles } from './files/model-files.ts';
import { preprocessImage, type PreprocessedImage } from './image/preprocess.ts';
import { defaultPreprocessorConfig, parsePreprocessorConfig, type PreprocessorConfig } from './image/preprocessor-config.ts';
import type { RawImage } from './image/raw-image.ts';
import { smartResize } from './image/smart-resize.ts';
import { isObject, type JsonObject, parseJsonObject } from './json-fields.ts';
import { bodySpans, maskOfSpans, utf8Length, type LossRoles } from './loss-mask.ts';
import { getRopeIndex, type GridThw } from './rope-index.ts';
import { readText } from './safetensors/byte-source.ts';
import { Tokenizer } from './tokenizer.ts';

export interface ProcessorInput {
  readonly messages: readonly ChatMessage[];
  /** The images of the parts that carry none themselves, in order. */
  readonly images?: readonly RawImage[];
  /** End with the opening of an assistant turn, for generation. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** Default `['assistant']`. */
  readonly loss?: LossRoles;
}

/** A chat whose images are cut into patches already, in the order of their parts. */
export interface EncodeInput extends Omit<ProcessorInput, 'images'> {
  readonly imageGridThw: readonly GridThw[];
}

/** A row without its pixels. L tokens. */
export interface EncodedChat {
  /** [L] token ids; every image takes as many image tokens as it has merged cells. */
  readonly inputIds: Int32Array;
  /** [3, L] time, height, width. */
  readonly positionIds: Int32Array;
  /** What to add to the number of tokens so far to get the position of a generated one. */
  readonly ropeDelta: number;
  /** [L] 1 where the token is a target of the loss. */
  readonly lossMask: Uint8Array;
}

/** One row. L tokens, N patches. */
export interface ProcessorOutput extends EncodedChat {
  /** [N, channels * temporalPatchSize * patchSize^2]; empty without images. */
  readonly pixelValues: Float32Array;
  readonly imageGridThw: readonly GridThw[];
}

const KEPT_SHAPES = 64;

/** Tokenizer, chat template and image preprocessing of a checkpoint. */
export class Processor {
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  readonly preprocessor: PreprocessorConfig;
  readonly #template: ChatTemplate;
  readonly #visual: ReadonlySet<number>;
  /** Special tokens of a chat with harmless words, by its shape. */
  readonly #specialOf = new Map<string, readonly number[]>();

  constructor(config: ModelConfig, tokenizer: Tokenizer, preprocessor: PreprocessorConfig = defaultPreprocessorConfig(config)) {
    if (tokenizer.chatTemplate === null) {
      throw new ModelError('invalid-tokenizer', { argument: 'chat_template', value: null, message: 'is missing', remedy: 'Use the tokenizer of a chat checkpoint, or add chat_template.jinja.' });
    }
    if (tokenizer.vocabSize > config.vocabSize) {
      throw new ModelError('invalid-tokenizer', { argument: 'tokenizer.json', value: tokenizer.vocabSize, message: `has more tokens than the ${config.vocabSize} of the model`, remedy: 'Use the tokenizer of this checkpoint.' });
    }
    this.config = config;
    this.tokenizer = tokenizer;
    this.preprocessor = preprocessor;
    this.#template = compileChatTemplate(tokenizer.chatTemplate, tokenizer.specialTokens);
    this.#visual = new Set([config.visionStartTokenId, config.visionEndTokenId, config.imageTokenId, config.videoTokenId]);
  }

  /** Reads `config.json`, the tokenizer's files and `preprocessor_config.json` or `processor_config.json`. */
  static async load(files: ModelFiles): Promise<Processor> {
    const config = parseConfig(parseJsonObject(await requireText(files, 'config.json'), 'config.json', 'invalid-config'));
    const preprocessor = await preprocessorJson(files);
    return new Processor(config, await Tokenizer.load(files), preprocessor === undefined ? undefined : parsePreprocessorConfig(preprocessor, config));
  }

  /** The text that `process` tokenises, with one placeholder for every image. */
  render(messages: readonly ChatMessage[], options: { readonly addGenerationPrompt?: boolean } = {}): string {
    return this.#template(messages, options);
  }

  /**
   * Renders, tokenises, cuts the images into patches and lays out positions and loss mask.
   * @throws ModelError `invalid-input` when images and placeholders do not match or a text spells out a special token, alone
   * or with the texts and the template around it; `invalid-image` for an image that cannot be used.
   */
  process(input: ProcessorInput): ProcessorOutput {
    this.#checkMessages(input.messages);
    const images = imagesOf(input.messages, input.images ?? []).map((image) => preprocessImage(image, this.preprocessor));
    const imageGridThw = images.map((image) => image.gridThw);
    return { ...this.#encode({ ...input, imageGridThw }), pixelValues: concat(images), imageGridThw };
  }

  /** The patches (time, rows, columns) that an image of this size is cut into. Throws ModelError `invalid-image`. */
  gridOf({ width, height }: { readonly width: number; readonly height: number }): GridThw {
    const { patchSize, mergeSize, minPixels, maxPixels } = this.preprocessor;
    const resized = smartResize(height, width, patchSize * mergeSize, minPixels, maxPixels);
    return [1, resized.height / patchSize, resized.width / patchSize];
  }

  /** As `process` for images that were preprocessed (or encoded) before: tokens, positions and loss mask. */
  encode(input: EncodeInput): EncodedChat {
    this.#checkMessages(input.messages);
    return this.#encode(input);
  }

  #encode({ messages, imageGridThw, addGenerationPrompt = false, loss = ['assistant'] }: EncodeInput): EncodedChat {
    const text = this.#template(messages, { addGenerationPrompt });
    const ids = this.tokenizer.encode(text);
    this.#checkRendered(ids, messages, addGenerationPrompt);
    const lengths = ids.map((id) => this.tokenizer.tokenBytes(id).byteLength);
    const length = lengths.reduce((a, b) => a + b, 0);
    if (length !== utf8Length(text)) {
      throw new ModelError('unsupported', { argument: 'tokenizer.json', value: length, message: `does not keep the ${utf8Length(text)} bytes of the text`, remedy: 'Use a byte-level tokenizer without a changing normaliser.' });
    }
    const mask = loss === 'all' ? new Uint8Array(ids.length).fill(1) : maskOfSpans(lengths, bodySpans(messages, this.#template, { addGenerationPrompt }, loss));
    const expanded = this.#expand(ids, mask, imageGridThw);
    return { inputIds: expanded.ids, ...getRopeIndex(expanded.ids, imageGridThw, this.config), lossMask: expanded.mask };
  }

  #checkMessages(messages: readonly ChatMessage[]): void {
    messages.map(plainMessage).forEach((message, i) => {
      const { role, content, ...further } = message;
      if (typeof role !== 'string' || role === '') {
        throw new ModelError('invalid-input', { argument: `messages[${i}].role`, value: role, message: 'must be a role', remedy: 'Use system, user or assistant.' });
      }
      const parts = typeof content === 'string' ? [] : content;
      const video = parts.findIndex((part) => partKind(part) === 'video');
      if (video >= 0) throw new ModelError('unsupported', { argument: `messages[${i}].content[${video}]`, value: 'video', message: 'is a video, which is not prepared here', remedy: 'Give its frames as images, or prepare token ids, positions and patches yourself.' });
      for (const text of [role, ...runsOf(content), ...textsOf(further), ...textsOf(parts)]) {
        const special = this.tokenizer.findSpecial(text);
        if (special !== undefined) throw forged(`messages[${i}]`, special);
      }
    });
  }

  /** A template may trim texts, or put them beside text of its own: it has to give the special tokens that it gives for harmless ones. */
  #checkRendered(ids: readonly number[], messages: readonly ChatMessage[], addGenerationPrompt: boolean): void {
    const special = (tokens: readonly number[]) => tokens.filter((id) => this.tokenizer.isSpecial(id));
    const got = special(ids);
    const harmless = messages.map((message, i) => withoutWords(plainMessage(message, i)));
    // Thousands of chats are of one shape.
    const shape = JSON.stringify([addGenerationPrompt, harmless]);
    let own = this.#specialOf.get(shape);
    if (own === undefined) {
      own = special(this.tokenizer.encode(this.#template(harmless as unknown as ChatMessage[], { addGenerationPrompt })));
      if (this.#specialOf.size >= KEPT_SHAPES) this.#specialOf.clear();
      this.#specialOf.set(shape, own);
    }
    if (got.length === own.length && got.every((id, i) => id === own[i])) return;
    const odd = got.find((id, i) => id !== own[i]) ?? own[got.length]!;
    throw forged('messages', this.tokenizer.idToToken(odd) ?? String(odd));
  }

  /** Repeats each image token once for every cell of its image; takes visual tokens out of the loss. */
  #expand(ids: readonly number[], mask: Uint8Array, images: readonly GridThw[]): { ids: Int32Array; mask: Uint8Array } {
    const { imageTokenId, vision } = this.config;
    const cells = images.map(([t, h, w]) => (t * h * w) / vision.spatialMergeSize ** 2);
    const placeholders = ids.filter((id) => id === imageTokenId).length;
    if (placeholders !== images.length) {
      throw new ModelError('invalid-input', { argument: 'images', value: images.length, message: `must be as many as the ${placeholders} image placeholders of the rendered chat`, remedy: 'Give one image for every image part.' });
    }
    const total = ids.length + cells.reduce((sum, count) => sum + count - 1, 0);
    const outIds = new Int32Array(total);
    const outMask = new Uint8Array(total);
    let at = 0;
    let image = 0;
    ids.forEach((id, i) => {
      const count = id === imageTokenId ? (cells[image++] ?? 1) : 1;
      outIds.fill(id, at, at + count);
      if (!this.#visual.has(id)) outMask.fill(mask[i] ?? 0, at, at + count);
      at += count;
    });
    return { ids: outIds, mask: outMask };
  }
}

/** The texts of a message, those that follow each other as one. */
function runsOf(content: PlainMessage['content']): string[] {
  if (typeof content === 'string') return [content];
  const runs = [''];
  for (const part of content) {
    if (partKind(part) === 'text') runs[runs.length - 1] += part['text'] as string;
    else runs.push('');
  }
  return runs;
}

/** Every text inside of a value. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.entries(value).flatMap(([key, inner]) => [key, ...textsOf(inner)]) : [];
}

/** The message with a harmless word for every text that is not blank; roles and types, by which templates choose, stay. */
function withoutWords(message: PlainMessage): PlainMessage {
  const harmless = (value: unknown, key: string): unknown => {
    if (typeof value === 'string') return key === 'role' || key === 'type' || value.trim() === '' ? value : 'x';
    if (Array.isArray(value)) return value.map((item) => harmless(item, ''));
    return isObject(value) ? Object.fromEntries(Object.entries(value).map(([k, inner]) => [k, harmless(inner, k)])) : value;
  };
  return harmless(message, '') as PlainMessage;
}

function forged(argument: string, token: string): ModelError {
  return new ModelError('invalid-input', { argument, value: token, message: 'spells out a special token, which could forge a turn or an image', remedy: 'Remove it, or pass images as image parts.' });
}

/** Version 5 of transformers saves the settings inside `processor_config.json`, and these count where both files are there. */
async function preprocessorJson(files: ModelFiles): Promise<JsonObject | undefined> {
  const read = async (name: string): Promise<JsonObject | undefined> => {
    const source = await files.open(name);
    return source === null ? undefined : parseJsonObject(await readText(source), name, 'invalid-config');
  };
  const nested = (await read('processor_config.json'))?.['image_processor'];
  return isObject(nested) ? nested : read('preprocessor_config.json');
}

/** The images of all parts in order. */
function imagesOf(messages: readonly ChatMessage[], given: readonly RawImage[]): RawImage[] {
  const parts: JsonObject[] = messages.flatMap(({ content }) => (typeof content === 'string' ? [] : [...content]));
  let next = 0;
  const images: RawImage[] = [];
  for (const part of parts) {
    if (partKind(part) !== 'image') continue;
    const image = isObject(part['image']) ? (part['image'] as unknown as RawImage) : given[next++];
    if (image === undefined) {
      throw new ModelError('invalid-input', { argument: 'images', value: given.length, message: 'has fewer images than the messages have image parts', remedy: 'Give one image for every image part.' });
    }
    images.push(image);
  }
  if (next !== given.length) {
    throw new ModelError('invalid-input', { argument: 'images', value: given.length, message: `has more images than the ${next} image parts that wait for one`, remedy: 'Add an image part for every image.' });
  }
  return images;
}

function concat(images: readonly PreprocessedImage[]): Float32Array {
  const [only] = images;
  if (images.length === 1 && only !== undefined) return only.pixelValues;
  const out = new Float32Array(images.reduce((sum, image) => sum + image.pixelValues.length, 0));
  let at = 0;
  for (const { pixelValues } of images) {
    out.set(pixelValues, at);
    at += pixelValues.length;
  }
  return out;
}
