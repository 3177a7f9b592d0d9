/** @file Sampling many completions of given prompts, to their end: one call of `Sampler`, in which finished rows are refilled. */
import { requireInteger, requireLength } from '../checks.ts';
import { ModelError } from '../errors.ts';
import type { TokenSequence } from '../vl/batch.ts';
import type { VisionLanguageModel } from '../vl/model.ts';
import { roundUp } from '../vl/plans.ts';
import { decodeRows, GenerationCache } from './cache.ts';
import type { Completion, StopStrings } from './completion.ts';
import { layOutPrompts } from './prompts.ts';
import { checkSampling, checkStopIds, type SamplingOptions } from './request.ts';
import { Sampler } from './sampler.ts';

export interface GenerateOptions extends SamplingOptions {
  /** Which adapter is on; none by default. */
  readonly adapter?: string;
  readonly maxNewTokens: number;
  /** Tokens after which a completion ends; they stay at its end. */
  readonly stopIds: readonly number[];
  /** Ends a completion with the token that completes one of these strings in its text. */
  readonly stop?: StopStrings;
  /** Completions are a function of weights, prompts, `seed` and `streams`. */
  readonly seed: number;
  /** For each completion which prompt it continues. Default: one for each prompt. */
  readonly promptOf?: readonly number[];
  /** For each completion the stream of random numbers it draws from. Default: its index. */
  readonly streams?: readonly number[];
  /** Completions that are sampled at once; when one ends, the next takes its place. Default: all of them. */
  readonly maxRows?: number;
  /** Stops between steps; what was sampled so far is returned. */
  readonly signal?: AbortSignal;
  /** Called after every `lookEvery` steps with the completions so far, for streaming. */
  readonly onProgress?: (completions: readonly Completion[]) => void;
  /** Steps between two looks at what has ended. Default 8. */
  readonly lookEvery?: number;
  /** Reads what all prompts begin with once. Default true; false reads each prompt for itself. */
  readonly sharePrefix?: boolean;
  /** Called once the prompts are read: tokens of all prompts, and how many of them were computed (common beginnings once). */
  readonly onPrefill?: (tokens: { readonly given: number; readonly computed: number }) => void;
}

/** Samples completions of prompts. Throws ModelError `invalid-input` for options out of range, and when the model's adapters change (or it is disposed) meanwhile. */
export async function generate(model: VisionLanguageModel, prompts: readonly TokenSequence[], options: GenerateOptions): Promise<Completion[]> {
  const { maxNewTokens, stopIds, seed, adapter, signal } = options;
  const promptOf = options.promptOf ?? prompts.map((_, i) => i);
  check(prompts, promptOf, options);
  const layout = layOutPrompts(model.config, prompts, options.sharePrefix);
  const rows = decodeRows(Math.min(options.maxRows ?? promptOf.length, promptOf.length));
  const kept = samplerFor(model, roundUp(layout.tokens, 32) + rows * maxNewTokens, rows, stopIds, adapter);
  return inTurn(kept, async (sampler) => {
    const sampled = (await sampler.add(layout, promptOf.map((prompt, i) => ({ ...options, prompt, seed, stream: options.streams?.[i] ?? i }))))!;
    options.onPrefill?.({ given: prompts.reduce((sum, p) => sum + p.inputIds.length - 1, 0), computed: layout.tokens });
    while (sampler.active > 0) {
      if (!(await sampler.step())) continue;
      options.onProgress?.(sampled.map((s) => s.completion));
      if (signal?.aborted === true) for (const s of sampled.toReversed()) s.stop();
    }
    return sampled.map((s) => s.completion);
  });
}

function check(prompts: readonly TokenSequence[], promptOf: readonly number[], options: GenerateOptions): void {
  const bad = (argument: string, value: unknown, message: string, remedy: string): never => {
    throw new ModelError('invalid-input', { argument, value, message, remedy });
  };
  if (prompts.length === 0) bad('prompts', 0, 'is empty', 'Give at least one prompt.');
  const outside = promptOf.findIndex((p) => !(p >= 0 && p < prompts.length && Number.isInteger(p)));
  if (promptOf.length === 0 || outside >= 0) bad('promptOf', promptOf[outside] ?? null, 'names no prompt', 'Give for each completion the index of its prompt.');
  checkSampling(options);
  checkStopIds(options.stopIds);
  if (options.maxRows !== undefined) requireInteger('maxRows', options.maxRows, 'Leave it out for the default.');
  if (options.streams !== undefined) requireLength('streams', options.streams, promptOf.length, 'Give one for each completion.');
}

/** A sampler that is kept for the next call of the same sizes. */
interface Kept {
  readonly sampler: Sampler;
  /** Settles when the call before has ended. */
  idle: Promise<void>;
  readonly forget: () => void;
}

/** Sizes that samplers are kept for, each with a cache of its own. */
const MOST_KEPT = 3;
const KEPT = new WeakMap<VisionLanguageModel, Map<string, Kept>>();

function samplerFor(model: VisionLanguageModel, tokens: number, rows: number, stopIds: readonly number[], adapter: string | undefined): Kept {
  const samplers = KEPT.get(model) ?? new Map<string, Kept>();
  KEPT.set(model, samplers);
  const key = JSON.stringify([tokens, rows, stopIds, adapter ?? '']);
  const known = samplers.get(key);
  if (known !== undefined) {
    // In the order of their last use.
    samplers.delete(key);
    samplers.set(key, known);
    return known;
  }
  const [oldest] = samplers;
  if (samplers.size >= MOST_KEPT && oldest !== undefined) {
    samplers.delete(oldest[0]);
    void oldest[1].idle.then(oldest[1].forget);
  }
  const sampler = new Sampler(model, new GenerationCache(model, tokens), { rows, widths: [rows], stopIds, ...(adapter === undefined ? {} : { adapter }) });
  let gone = false;
  const kept: Kept = {
    sampler,
    idle: Promise.resolve(),
    forget: () => {
      if (samplers.get(key) === kept) samplers.delete(key);
      if (gone) return;
      gone = true;
      unsubscribe();
      sampler.dispose();
      sampler.cache.dispose();
    },
  };
  samplers.set(key, kept);
  const unsubscribe = model.onForget(kept.forget);
  return kept;
}

/** Calls of the same sizes wait for each other: each has all rows for itself. */
async function inTurn<T>(kept: Kept, work: (sampler: Sampler) => Promise<T>): Promise<T> {
  const before = kept.idle;
  const turn = before.then(() => work(kept.sampler));
  kept.idle = turn.then(
    () => undefined,
    // What its rows hold is not known any more.
    () => kept.forget(),
  );
  return turn;
}
