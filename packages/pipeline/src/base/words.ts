/** @file Compact text as token ids: every word is one token (see `tinyTokenizerFiles`). */
import { type BatchImage, getRopeIndex, type ModelConfig, type Tokenizer, type TokenSequence } from '@trimpi/model';
import { PipelineError } from '../errors.ts';

/** A row in the making: tokens, what each weighs in the loss, and the images in their places. */
export class RowBuilder {
  readonly ids: number[] = [];
  readonly weights: number[] = [];
  readonly images: BatchImage[] = [];
  /** Targets of tokens themselves (not of those before them): what stands in the cell of an image token. */
  readonly named: { readonly token: number; readonly id: number; readonly weight: number }[] = [];
  readonly #config: ModelConfig;
  readonly #words: WordCodec;

  constructor(config: ModelConfig, words: WordCodec) {
    this.#config = config;
    this.#words = words;
  }

  text(text: string, weight = 0): this {
    return this.tokens(this.#words.encode(text), weight);
  }

  tokens(ids: readonly number[], weight = 0): this {
    for (const id of ids) {
      this.ids.push(id);
      this.weights.push(weight);
    }
    return this;
  }

  image(image: BatchImage): this {
    const [t, h, w] = image.gridThw;
    const cells = (t * h * w) / this.#config.vision.spatialMergeSize ** 2;
    this.images.push(image);
    return this.tokens([this.#config.visionStartTokenId, ...Array.from({ length: cells }, () => this.#config.imageTokenId), this.#config.visionEndTokenId]);
  }

  /** Text in which `<image>` stands for each of `images`. */
  interleaved(text: string, images: readonly BatchImage[], weight = 0): this {
    const parts = text.split('<image>');
    if (parts.length - 1 !== images.length) throw new Error(`the text has ${parts.length - 1} places for ${images.length} images`);
    parts.forEach((part, i) => {
      if (i > 0) this.image(images[i - 1]!);
      this.text(part, weight);
    });
    return this;
  }

  /** Lets the image token of cell `cell` of the image put in last name a word. */
  name(cell: number, word: string, weight: number): this {
    const [t, h, w] = this.images[this.images.length - 1]!.gridThw;
    const cells = (t * h * w) / this.#config.vision.spatialMergeSize ** 2;
    const first = this.ids.lastIndexOf(this.#config.visionEndTokenId) - cells;
    this.named.push({ token: first + cell, id: this.#words.encode(word)[0]!, weight });
    return this;
  }

  end(weight = 0): this {
    return this.tokens([this.#config.eosTokenId!], weight);
  }

  sequence(): TokenSequence {
    return { inputIds: Int32Array.from(this.ids), positionIds: getRopeIndex(this.ids, this.images.map((i) => i.gridThw), this.#config).positionIds, images: this.images };
  }
}

/** Throws `invalid-option` unless each of the words is one token. */
export function requireWords(codec: WordCodec, words: readonly string[], base: string, what: string): void {
  const unknown = words.find((word) => codec.encode(word).length !== 1);
  if (unknown !== undefined) throw new PipelineError('invalid-option', 'base', `${base} does not know the word ${unknown} of ${what}.`, 'Use the small base, or one that trimpi pretrain --recipe small made.');
}

/** Words to ids and back, remembered. */
export class WordCodec {
  readonly #tokenizer: Tokenizer;
  readonly #cache = new Map<string, readonly number[]>();

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  encode(text: string): number[] {
    return text.split(' ').filter((w) => w !== '').flatMap((word) => {
      let ids = this.#cache.get(word);
      if (ids === undefined) this.#cache.set(word, (ids = this.#tokenizer.encode(` ${word}`)));
      return ids;
    });
  }

  decode(ids: ArrayLike<number>): string {
    return this.#tokenizer.decode(Array.from(ids), { skipSpecialTokens: true }).trim();
  }
}
