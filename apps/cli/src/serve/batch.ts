/** @file The running batch: jobs of a model and its adapters as rows of samplers that share one cache. */
import { randomInt } from 'node:crypto';
import { type CompletionRequest, decodeRows, GenerationCache, layOutPrompts, type Sampled, Sampler } from '@trimpi/model';
import type { OpenedModel } from '../model/load.ts';
import type { ChatJob } from './backend.ts';
import type { Runner } from './scheduler.ts';
import { topLogprobs } from './top-logprobs.ts';

export interface BatchOptions {
  readonly opened: Pick<OpenedModel, 'model' | 'stopIds'>;
  /** Completions at once. */
  readonly maxRows: number;
  /** Tokens of prompts and completions at once. */
  readonly batchTokens: number;
}

/** Tokens of prompts that are read in one go (one longer prompt is, too): others wait for their next token meanwhile. */
export const READ_TOKENS = 2048;

export class Batch implements Runner<ChatJob> {
  readonly #o: BatchOptions;
  /** By adapter. */
  readonly #samplers = new Map<string | undefined, Sampler>();
  /** The choices of a job that have begun, in their order. */
  readonly #sampled = new Map<ChatJob, readonly Sampled[]>();
  #cache: GenerationCache | undefined;

  constructor(options: BatchOptions) {
    this.#o = options;
  }

  async begin(jobs: readonly ChatJob[]): Promise<number> {
    const sampler = this.#samplerOf(jobs[0]!.adapter);
    const config = sampler.model.config;
    // Prompts that begin alike (with a policy) are read once, if they come together; so as many as possible do.
    for (let count = this.#fitting(jobs, sampler.cache.space.free); count > 0; count >>= 1) {
      const some = jobs.slice(0, count);
      const sampled = await sampler.add(layOutPrompts(config, some.map((job) => job.prompt)), some.flatMap(requestsOf));
      if (sampled === undefined) continue;
      for (const job of some) this.#sampled.set(job, sampled.splice(0, job.choices.length));
      return count;
    }
    return 0;
  }

  async step(): Promise<void> {
    for (const sampler of this.#samplers.values()) await sampler.step();
    for (const [{ choices }, sampled] of this.#sampled) {
      choices.forEach((choice, i) => {
        const { completion } = sampled[i]!;
        choice.update(completion.tokens, completion.logps, completion.finish === 'stop');
        if (choice.finish !== undefined) sampled[i]!.stop();
      });
    }
  }

  async end(job: ChatJob): Promise<void> {
    for (const sampled of this.#sampled.get(job) ?? []) sampled.stop();
    this.#sampled.delete(job);
    const { request: { topLogprobs: count, temperature, repetitionPenalty }, prompt, adapter, signal } = job;
    if (count === 0) return;
    for (const choice of job.choices) choice.top = signal.aborted ? [] : await topLogprobs(this.#o.opened.model, prompt, choice.tokens.map((t) => t.id), { count, temperature, repetitionPenalty, adapter });
  }

  reset(): void {
    this.#sampled.clear();
    for (const sampler of this.#samplers.values()) sampler.dispose();
    this.#samplers.clear();
    this.#cache?.dispose();
    this.#cache = undefined;
  }

  /** How many of the first jobs have the adapter of the first, and may fit. */
  #fitting(jobs: readonly ChatJob[], free: number): number {
    let rows = this.#o.maxRows - [...this.#samplers.values()].reduce((sum, sampler) => sum + sampler.active, 0);
    let tokens = free;
    let read = READ_TOKENS;
    const end = jobs.findIndex((job, i) => {
      rows -= job.choices.length;
      tokens -= job.promptTokens - 1 + job.choices.length * job.maxTokens;
      read -= job.promptTokens;
      return job.adapter !== jobs[0]!.adapter || rows < 0 || tokens < 0 || (i > 0 && read < 0);
    });
    return end < 0 ? jobs.length : end;
  }

  #samplerOf(adapter: string | undefined): Sampler {
    let sampler = this.#samplers.get(adapter);
    if (sampler === undefined) {
      const { opened: { model, stopIds }, maxRows, batchTokens } = this.#o;
      this.#cache ??= new GenerationCache(model, batchTokens);
      const rows = decodeRows(maxRows);
      const widths = [8, 16, 32, 64, 128, 256, 512].filter((width) => width < rows);
      sampler = new Sampler(model, this.#cache, { rows, widths: [...widths, rows], stopIds, ...(adapter === undefined ? {} : { adapter }) });
      this.#samplers.set(adapter, sampler);
    }
    return sampler;
  }
}

/** The completions of job `prompt`. What one with a seed gets is its own affair: its choices draw from streams 0, 1, ... */
function requestsOf({ request, choices, maxTokens }: ChatJob, prompt: number): CompletionRequest[] {
  const { temperature, topP, topK, minP, repetitionPenalty, stream: follows } = request;
  const seed = request.seed ?? randomInt(2 ** 32);
  return choices.map((_, stream) => ({ prompt, maxNewTokens: maxTokens, temperature, topP, topK, minP, repetitionPenalty, seed, stream, ...(follows ? { lookEvery: 1 } : {}) }));
}
