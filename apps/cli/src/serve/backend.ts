/** @file Chat requests as jobs for one model and its adapters. */
import type { ChatMessage, TokenSequence } from '@trimpi/model';
import type { OpenedModel } from '../model/load.ts';
import { nearest } from '../options.ts';
import { ApiError } from './api-error.ts';
import { Choice, type Piece } from './choice.ts';
import type { ImageRules } from './image-source.ts';
import { type PicturePart, Pictures } from './pictures.ts';
import type { ChatRequest } from './request.ts';
import type { Job, Place } from './scheduler.ts';

export interface ChatJob extends Job {
  readonly request: ChatRequest;
  readonly prompt: TokenSequence;
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly adapter: string | undefined;
}

export interface BackendOptions {
  readonly opened: OpenedModel;
  /** What the model is called; adapters are `name:adapter`. */
  readonly name: string;
  readonly images: ImageRules;
  /** For requests that do not say how long an answer may become. */
  readonly maxNewTokens: number;
  /** Completions of one request. */
  readonly maxRows: number;
  /** Tokens of its prompt and all its completions. */
  readonly batchTokens: number;
}

export class Backend {
  readonly #o: BackendOptions;
  readonly #pictures: Pictures;
  /** Most tokens of a request, and the option that says so. */
  readonly #limit: { readonly tokens: number; readonly option: string };
  /** Bytes of the longest token. */
  readonly #longest: number;

  constructor(options: BackendOptions) {
    this.#o = options;
    const { opened: { processor, positions }, images, batchTokens } = options;
    this.#limit = positions < batchTokens ? { tokens: positions, option: '--max-positions' } : { tokens: batchTokens, option: '--batch-tokens' };
    this.#pictures = new Pictures({ processor, rules: images, limit: this.#limit });
    const { tokenizer } = processor;
    this.#longest = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.tokenBytes(id).byteLength).reduce((a, b) => Math.max(a, b), 1);
  }

  /** Model names as `GET /v1/models` lists them. */
  get models(): string[] {
    const { name, opened } = this.#o;
    return [name, ...opened.adapters.map((adapter) => `${name}:${adapter}`)];
  }

  /** Tokenises and, when the request has room in a batch and its pictures have it among those that wait, decodes them. @throws ApiError, ModelError. */
  async prepare(request: ChatRequest, place: Pick<Place, 'hold'>, onPiece: (choice: number, piece: Piece) => void, signal: AbortSignal): Promise<ChatJob> {
    const { opened, maxNewTokens, maxRows, batchTokens } = this.#o;
    const { processor, positions } = opened;
    const adapter = this.#adapterOf(request.model);
    if (request.n > maxRows) throw new ApiError(400, `n: ${request.n} is more than the ${maxRows} completions of a batch (--max-batch).`, { param: 'n' });
    this.#checkText(request);
    const pictures: PicturePart[] = [];
    const messages: ChatMessage[] = [];
    for (const [m, { role, content }] of request.messages.entries()) {
      const parts: ({ type: 'text'; text: string } | { type: 'image' })[] = [];
      for (const [p, part] of (typeof content === 'string' ? [] : content).entries()) {
        if (part.type === 'text') parts.push(part);
        else {
          pictures.push({ url: part.image_url.url, param: `messages[${m}].content[${p}].image_url.url` });
          parts.push({ type: 'image' });
        }
      }
      messages.push({ role: role === 'developer' ? 'system' : role, content: typeof content === 'string' ? content : parts });
    }
    const counted = await this.#pictures.count(pictures, signal);
    const { inputIds, positionIds } = processor.encode({ messages, imageGridThw: counted.map(({ gridThw }) => gridThw), addGenerationPrompt: true, loss: 'all' });
    const promptTokens = inputIds.length;
    const room = positions - promptTokens;
    const maxTokens = request.maxTokens ?? Math.min(maxNewTokens, room, Math.max(1, Math.floor((batchTokens - promptTokens) / request.n)));
    if (maxTokens > room || room < 1) {
      throw new ApiError(400, `The prompt has ${promptTokens} tokens${request.maxTokens === undefined ? '' : ` and max_tokens is ${maxTokens}`}; together they may be ${positions} (--max-positions). Shorten the messages, shrink the pictures, or ask for fewer tokens.`, { param: 'messages', code: 'context_length_exceeded' });
    }
    const tokens = promptTokens + request.n * maxTokens;
    if (tokens > batchTokens) {
      throw new ApiError(400, `The prompt of ${promptTokens} tokens and ${request.n} ${request.n === 1 ? 'answer' : 'answers'} of ${maxTokens} are ${tokens} tokens, and this server has room for ${batchTokens} (--batch-tokens). Ask for fewer tokens.`, { param: 'max_tokens', code: 'context_length_exceeded' });
    }
    if (counted.length > 0) await place.hold(counted.reduce((sum, picture) => sum + picture.tokens, 0), signal);
    const images = await this.#pictures.decode(counted, signal);
    const decode = (ids: Int32Array) => processor.tokenizer.decode(ids, { skipSpecialTokens: true });
    const choices = Array.from({ length: request.n }, (_, i) => new Choice({ decode, maxTokens, stop: request.stop, onPiece: (piece) => onPiece(i, piece) }));
    return {
      request, signal, adapter, promptTokens, maxTokens, choices, prompt: { inputIds, positionIds, images },
    };
  }

  /** Refuses text that is too long whatever its tokens are, before time and memory go into them. */
  #checkText({ messages }: ChatRequest): void {
    const texts = messages.flatMap(({ content }) => (typeof content === 'string' ? [content] : content.flatMap((part) => (part.type === 'text' ? [part.text] : []))));
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const fewest = Math.ceil(bytes / this.#longest);
    const { tokens, option } = this.#limit;
    if (fewest > tokens) throw new ApiError(400, `The messages have ${bytes} bytes of text, which are ${fewest} tokens or more; a prompt and its answer may have ${tokens} (${option}). Shorten the text.`, { param: 'messages', code: 'context_length_exceeded' });
  }

  /** The adapter that a model name stands for. @throws ApiError 404. */
  #adapterOf(model: string): string | undefined {
    const { name, opened } = this.#o;
    if (model === name) return undefined;
    const adapter = opened.adapters.find((a) => model === `${name}:${a}` || model === a);
    if (adapter === undefined) {
      const near = nearest(model.slice(0, 200), this.models);
      throw new ApiError(404, `The model ${JSON.stringify(model.slice(0, 200))} is not served here. ${near === undefined ? `There is ${this.models.join(', ')}.` : `Did you mean ${near}?`}`, { param: 'model', code: 'model_not_found' });
    }
    return adapter;
  }

  dispose(): void {
    this.#o.opened.dispose();
  }
}
