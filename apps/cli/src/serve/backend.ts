/** @file Chat requests as jobs for one model and its adapters, and batches of jobs as `generate` calls. */
import { randomInt } from 'node:crypto';
import { type ChatMessage, type Completion, generate, type RawImage, type TokenSequence } from '@trimpi/model';
import { batchImages } from '../model/answer.ts';
import type { OpenedModel } from '../model/load.ts';
import { nearest } from '../options.ts';
import { ApiError } from './api-error.ts';
import { Choice, type Piece } from './choice.ts';
import { type ImageRules, requestImage } from './image-source.ts';
import type { ChatRequest } from './request.ts';
import type { Job, Scheduler } from './scheduler.ts';
import { topLogprobs } from './top-logprobs.ts';

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
}

/** Shapes of prompts that buffers are kept for. */
const KEPT_SHAPES = 4;

export class Backend {
  readonly #o: BackendOptions;
  readonly #shapes = new Set<string>();
  /** Positions that the model has. */
  readonly contextLength: number;

  constructor(options: BackendOptions) {
    this.#o = options;
    this.contextLength = Math.min(options.opened.processor.config.maxPositionEmbeddings, 8192);
  }

  /** Model names as `GET /v1/models` lists them. */
  get models(): string[] {
    const { name, opened } = this.#o;
    return [name, ...opened.adapters.map((adapter) => `${name}:${adapter}`)];
  }

  /** Decodes pictures and tokenises. @throws ApiError, ModelError. */
  async prepare(request: ChatRequest, onPiece: (choice: number, piece: Piece) => void, signal: AbortSignal): Promise<ChatJob> {
    const { opened, maxNewTokens, maxRows } = this.#o;
    const { processor } = opened;
    const adapter = this.#adapterOf(request.model);
    if (request.n > maxRows) throw new ApiError(400, `n: ${request.n} is more than the ${maxRows} completions of a batch (--max-batch).`, { param: 'n' });
    const images: RawImage[] = [];
    const messages: ChatMessage[] = [];
    for (const [m, { role, content }] of request.messages.entries()) {
      const parts: ({ type: 'text'; text: string } | { type: 'image' })[] = [];
      for (const [p, part] of (typeof content === 'string' ? [] : content).entries()) {
        if (part.type === 'text') parts.push(part);
        else {
          images.push(await requestImage(part.image_url.url, `messages[${m}].content[${p}].image_url.url`, this.#o.images, signal));
          parts.push({ type: 'image' });
        }
      }
      messages.push({ role: role === 'developer' ? 'system' : role, content: typeof content === 'string' ? content : parts });
    }
    const row = processor.process({ messages, images, addGenerationPrompt: true, loss: 'all' });
    const promptTokens = row.inputIds.length;
    const room = this.contextLength - promptTokens;
    const maxTokens = request.maxTokens ?? Math.min(maxNewTokens, room);
    if (maxTokens > room || room < 1) {
      throw new ApiError(400, `The prompt has ${promptTokens} tokens${request.maxTokens === undefined ? '' : ` and max_tokens is ${maxTokens}`}; together they may be ${this.contextLength}. Shorten the messages, shrink the pictures, or ask for fewer tokens.`, { param: 'messages', code: 'context_length_exceeded' });
    }
    const { temperature, topP, topK, minP, seed } = request;
    const decode = (tokens: Int32Array) => processor.tokenizer.decode(tokens, { skipSpecialTokens: true });
    const choices = Array.from({ length: request.n }, (_, i) => new Choice({ decode, maxTokens, stop: request.stop, onPiece: (piece) => onPiece(i, piece) }));
    return {
      request, signal, adapter, promptTokens, maxTokens, choices,
      complete: () => request.topLogprobs === 0 || choices.every((choice) => choice.top !== undefined),
      prompt: { inputIds: row.inputIds, positionIds: row.positionIds, images: batchImages(row) },
      key: JSON.stringify([adapter ?? null, temperature, ...(temperature === 0 ? [] : [topP, topK, minP, seed ?? null])]),
      tokens: promptTokens + request.n * maxTokens,
    };
  }

  /** Runs jobs of one key as one batch. What a request with a seed gets does not depend on its neighbours. */
  async run(jobs: readonly ChatJob[], signal: AbortSignal, scheduler: Pick<Scheduler<ChatJob>, 'progressed'>): Promise<void> {
    const { model, stopIds } = this.#o.opened;
    const { adapter, request: { temperature, topP, topK, minP, seed } } = jobs[0]!;
    const choices = jobs.flatMap((job) => job.choices);
    // Powers of two: buffers are made for a length.
    const maxNewTokens = 2 ** Math.ceil(Math.log2(Math.max(8, ...jobs.map((job) => job.maxTokens))));
    this.#remember(JSON.stringify([jobs.map((job) => job.promptTokens), choices.length, maxNewTokens, jobs[0]!.key]));
    const feed = (completions: readonly Completion[]) => {
      completions.forEach(({ tokens, logps, finish }, i) => choices[i]!.update(tokens, logps, finish === 'stop'));
      scheduler.progressed();
    };
    const completions = await generate(model, jobs.map((job) => job.prompt), {
      maxNewTokens, stopIds, signal, temperature,
      ...(temperature === 0 ? {} : { topP, topK, minP }),
      seed: seed ?? randomInt(2 ** 32),
      promptOf: jobs.flatMap((job, j) => job.choices.map(() => j)),
      streams: seed === undefined ? choices.map((_, i) => i) : jobs.flatMap((job) => job.choices.map((_, i) => i)),
      ...(adapter === undefined ? {} : { adapter }),
      onProgress: feed,
      // Somebody reads along: a look after every token.
      ...(jobs.some((job) => job.request.stream) ? { lookEvery: 1 } : {}),
    });
    feed(completions);
    for (const { request, choices: own, prompt, signal: gone } of jobs) {
      if (request.topLogprobs === 0) continue;
      for (const choice of own) choice.top = gone.aborted ? [] : await topLogprobs(model, prompt, choice.tokens.map((t) => t.id), { count: request.topLogprobs, temperature, adapter });
    }
  }

  /** Every shape has buffers of its own, which would pile up. */
  #remember(shape: string): void {
    if (!this.#shapes.has(shape) && this.#shapes.size >= KEPT_SHAPES) {
      this.#o.opened.model.setTrainable();
      this.#shapes.clear();
    }
    this.#shapes.add(shape);
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
