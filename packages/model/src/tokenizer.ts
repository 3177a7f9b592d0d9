/** @file Text to token ids and back, by `@huggingface/tokenizers`. */
import { Tokenizer as HfTokenizer } from '@huggingface/tokenizers';
import { bytesOfToken } from './byte-level.ts';
import { ModelError } from './errors.ts';
import { requireText, type ModelFiles } from './files/model-files.ts';
import { isObject, parseJsonObject, type JsonObject } from './json-fields.ts';
import { readText } from './safetensors/byte-source.ts';
import { checkTokenizerJson } from './tokenizer-json.ts';

/** A byte-level BPE tokenizer of a checkpoint. */
export class Tokenizer {
  /** Token ids run below this number; some of them may stand for nothing. */
  readonly vocabSize: number;
  readonly eosTokenId: number | null;
  readonly padTokenId: number | null;
  /** The Jinja source of the chat template, when the files have one. */
  readonly chatTemplate: string | null;
  /** The values `bos_token`, `eos_token` and so on that a template may use. */
  readonly specialTokens: Readonly<Record<string, string>>;
  readonly #library: HfTokenizer;
  readonly #added: ReadonlyMap<number, { content: string; special: boolean }>;

  private constructor(library: HfTokenizer, added: ReadonlyMap<number, { content: string; special: boolean }>, vocabSize: number, config: JsonObject) {
    this.#library = library;
    this.#added = added;
    this.vocabSize = vocabSize;
    const tokens: Record<string, string> = {};
    for (const key of ['bos_token', 'eos_token', 'pad_token', 'unk_token']) {
      const value = config[key];
      const content = isObject(value) ? value['content'] : value;
      if (typeof content === 'string') tokens[key] = content;
    }
    this.specialTokens = tokens;
    this.eosTokenId = this.#idOfNamed(tokens['eos_token']);
    this.padTokenId = this.#idOfNamed(tokens['pad_token']);
    this.chatTemplate = templateOf(config['chat_template']);
  }

  /**
   * From parsed `tokenizer.json` and `tokenizer_config.json`.
   * @throws ModelError `invalid-tokenizer`.
   */
  static parse(tokenizerJson: unknown, tokenizerConfigJson: unknown = {}): Tokenizer {
    const json = checkTokenizerJson(tokenizerJson);
    if (!isObject(tokenizerConfigJson)) {
      throw new ModelError('invalid-tokenizer', { argument: 'tokenizer_config.json', value: tokenizerConfigJson, message: 'must be an object', remedy: 'Pass JSON.parse of the file.' });
    }
    const added = new Map((json.added_tokens ?? []).map((token) => [token.id, { content: token.content, special: token.special === true }]));
    const vocabSize = [...Object.values(json.model.vocab), ...added.keys()].reduce((max, id) => Math.max(max, id), -1) + 1;
    const library = guarded('tokenizer.json', () => {
      const made = new HfTokenizer(json, { ...tokenizerConfigJson, tokenizer_class: tokenizerConfigJson['tokenizer_class'] ?? 'Qwen2Tokenizer' });
      // The library looks at some components only when they are used.
      made.encode('a');
      return made;
    });
    return new Tokenizer(library, added, vocabSize, tokenizerConfigJson);
  }

  /** From the files of a model; the chat template may lie in `tokenizer_config.json`, `chat_template.jinja` or `chat_template.json`. */
  static async load(files: ModelFiles): Promise<Tokenizer> {
    const json = parseJsonObject(await requireText(files, 'tokenizer.json'), 'tokenizer.json', 'invalid-tokenizer');
    const configSource = await files.open('tokenizer_config.json');
    let config: JsonObject = configSource === null ? {} : parseJsonObject(await readText(configSource), 'tokenizer_config.json', 'invalid-tokenizer');
    const jinja = await files.open('chat_template.jinja');
    if (jinja !== null) config = { ...config, chat_template: await readText(jinja) };
    else if (config['chat_template'] === undefined) {
      const source = await files.open('chat_template.json');
      if (source !== null) config = { ...config, ...parseJsonObject(await readText(source), 'chat_template.json', 'invalid-tokenizer') };
    }
    return Tokenizer.parse(json, config);
  }

  /** Token ids of a text. Special tokens that are written in the text become their ids. Nothing is added. */
  encode(text: string): number[] {
    if (text === '') return [];
    return guarded('text', () => [...this.#library.encode(text, { add_special_tokens: false }).ids]);
  }

  /** The text of token ids; ids that stand for nothing give nothing. @throws ModelError `invalid-input` for what is no id. */
  decode(ids: ArrayLike<number>, options: { readonly skipSpecialTokens?: boolean } = {}): string {
    const known: number[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] ?? -1;
      if (!Number.isInteger(id) || id < 0) {
        throw new ModelError('invalid-input', { argument: `ids[${i}]`, value: id, message: 'must be a token id', remedy: 'Pass non-negative integers.' });
      }
      if (this.idToToken(id) !== undefined) known.push(id);
    }
    if (known.length === 0) return '';
    return guarded('ids', () => this.#library.decode(known, { skip_special_tokens: options.skipSpecialTokens ?? false, clean_up_tokenization_spaces: false }));
  }

  /** The id of a token as the vocabulary writes it (byte-level characters), or undefined. */
  tokenToId(token: string): number | undefined {
    return this.#library.token_to_id(token);
  }

  /** The token of an id as the vocabulary writes it, or undefined. */
  idToToken(id: number): string | undefined {
    return this.#added.get(id)?.content ?? this.#library.id_to_token(id);
  }

  /** The id of a token. @throws ModelError `invalid-tokenizer` when there is none. */
  requireId(token: string): number {
    const id = this.tokenToId(token);
    if (id === undefined) {
      throw new ModelError('invalid-tokenizer', { argument: 'tokenizer.json', value: token, message: 'does not have this token', remedy: 'Use the tokenizer of a chat checkpoint of the model.' });
    }
    return id;
  }

  /** The UTF-8 bytes that a token contributes to the text; none for an id that stands for nothing. For streaming: a character may be spread over tokens. */
  tokenBytes(id: number): Uint8Array {
    const added = this.#added.get(id);
    if (added !== undefined) return new TextEncoder().encode(added.content);
    const token = this.#library.id_to_token(id);
    return token === undefined ? new Uint8Array(0) : (bytesOfToken(token) ?? new TextEncoder().encode(token));
  }

  /** Whether an id is a special token, which `decode` leaves out on demand. */
  isSpecial(id: number): boolean {
    return this.#added.get(id)?.special === true;
  }

  /** The first special token that is written out in a text, or undefined. */
  findSpecial(text: string): string | undefined {
    for (const { content, special } of this.#added.values()) if (special && text.includes(content)) return content;
    return undefined;
  }

  #idOfNamed(token: string | undefined): number | null {
    return token === undefined ? null : (this.tokenToId(token) ?? null);
  }
}

function templateOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  // Several named templates: the default one.
  if (Array.isArray(value)) {
    const found: unknown = value.find((item) => isObject(item) && item['name'] === 'default');
    if (isObject(found) && typeof found['template'] === 'string') return found['template'];
  }
  return null;
}

/** Runs the library; what it throws becomes a ModelError. */
function guarded<T>(argument: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw new ModelError('invalid-tokenizer', { argument, value: cause instanceof Error ? cause.message : cause, message: 'was refused by the tokenizer', remedy: 'Fetch the tokenizer of the checkpoint again.', cause });
  }
}
