/**
 * @file Sampling many completions at once. Every distinct prompt is read once, however many completions it gets; keys
 * and values stay in a cache on the device, and so does everything a decoding step needs (see `decodeInputs`), so that
 * steps are submitted one after the other without waiting for the host.
 */
import { decodeAdvance, type DecodeBuffers, decodeInputs, embed, gatherRows, Graph, type Plan, sample, type SampleAttributes, scatterRowsInto, STATE, STATE_WIDTH, type Storage, type Tensor } from '@trimpi/runtime';
import { ModelError } from '../errors.ts';
import { packBatch, type TokenSequence } from '../vl/batch.ts';
import type { VisionLanguageModel } from '../vl/model.ts';
import { batchInputs, type BatchShape, roundUp, shapeOf, visualInputs } from '../vl/plans.ts';
import { languageHead, textTower } from '../vl/towers.ts';

export interface GenerateOptions extends Partial<SampleAttributes> {
  /** Which adapter is on; none by default. */
  readonly adapter?: string;
  readonly maxNewTokens: number;
  /** Tokens after which a completion ends; they stay at its end. */
  readonly stopIds: readonly number[];
  /** Completions are a function of weights, prompts, `seed` and `streams`. */
  readonly seed: number;
  /** For each completion which prompt it continues. Default: one for each prompt. */
  readonly promptOf?: readonly number[];
  /** For each completion the stream of random numbers it draws from. Default: its index. */
  readonly streams?: readonly number[];
  /** Stops between steps; what was sampled so far is returned. */
  readonly signal?: AbortSignal;
  /** Called every few steps with the completions so far. */
  readonly onProgress?: (completions: readonly Completion[]) => void;
}

export interface Completion {
  readonly prompt: number;
  readonly tokens: Int32Array;
  /** Log-probability of each token under the full distribution at the sampling temperature. */
  readonly logps: Float32Array;
  /** Entropy of the distribution each token was drawn from, nats. */
  readonly entropies: Float32Array;
  /** `stop`: ended with a stop token; `length`: reached maxNewTokens (or was interrupted). */
  readonly finish: 'stop' | 'length';
}

/** Steps submitted between two looks at which completions have ended. */
const STEPS_PER_LOOK = 8;

export async function generate(model: VisionLanguageModel, prompts: readonly TokenSequence[], options: GenerateOptions): Promise<Completion[]> {
  const promptOf = options.promptOf ?? prompts.map((_, i) => i);
  check(prompts, promptOf, options);
  if (options.adapter !== undefined) await model.adapter(options.adapter).ready;
  const batch = packBatch(model.config, prompts.map((sequence) => ({ sequence, predict: [] })));
  const shape = { ...shapeOf(batch, model.config.vision.spatialMergeSize), targets: roundUp(prompts.length, 8) };
  const rows = Math.ceil(promptOf.length / 8) * 8;
  const session = await sessionFor(model, shape, rows, options);

  const lasts = new Int32Array(shape.targets).fill(-1);
  const state = new Int32Array(rows * STATE_WIDTH);
  const starts: number[] = [];
  let at = 0;
  prompts.forEach((p, i) => {
    starts.push(at);
    at += p.inputIds.length;
    lasts[i] = at - 1;
  });
  const ofRow = new Int32Array(rows).fill(0);
  for (let r = 0; r < rows; r++) {
    const prompt = promptOf[r];
    if (prompt === undefined) {
      state[r * STATE_WIDTH + STATE.finished] = 1;
      continue;
    }
    const sequence = prompts[prompt]!;
    const fields = {
      promptLow: starts[prompt]!,
      promptHigh: starts[prompt]! + sequence.inputIds.length,
      nextPosition: Array.from(sequence.positionIds).reduce((a, b) => Math.max(a, b), 0) + 1,
      base: shape.tokens + r * options.maxNewTokens,
      stream: options.streams?.[r] ?? r,
    };
    for (const [key, value] of Object.entries(fields)) state[r * STATE_WIDTH + STATE[key as keyof typeof fields]] = value;
    ofRow[r] = prompt;
  }
  session.state.write(state);
  const key = Uint32Array.of(options.seed >>> 0, Math.floor(options.seed / 4294967296) >>> 0);
  const inverse = new Int32Array(shape.tokens);
  await session.prefill.run({
    ...batchInputs(batch, shape, session.prefillInputs),
    cacheRows: Int32Array.from({ length: shape.tokens }, (_, i) => (i < batch.tokens ? i : -1)),
    predictors: lasts,
    predictorInverse: inverse,
    ofRow,
    ofRowInverse: new Int32Array(shape.targets),
    key,
  });
  let first = true;
  for (let step = 1; step < options.maxNewTokens; step++) {
    await session.decode.run(first ? { key } : {});
    first = false;
    if (step % STEPS_PER_LOOK === 0) {
      if (options.onProgress !== undefined) options.onProgress(await collect(session, promptOf, options));
      if (options.signal?.aborted === true) break;
      const now = await session.state.read();
      if (promptOf.every((_, r) => now[r * STATE_WIDTH + STATE.finished] === 1)) break;
    }
  }
  return collect(session, promptOf, options);
}

function check(prompts: readonly TokenSequence[], promptOf: readonly number[], options: GenerateOptions): void {
  const { maxNewTokens, temperature = 1, topP = 1, topK = 0, minP = 0 } = options;
  const bad = (argument: string, value: unknown, message: string, remedy: string): never => {
    throw new ModelError('invalid-input', { argument, value, message, remedy });
  };
  if (prompts.length === 0) bad('prompts', 0, 'is empty', 'Give at least one prompt.');
  const outside = promptOf.findIndex((p) => !(p >= 0 && p < prompts.length && Number.isInteger(p)));
  if (promptOf.length === 0 || outside >= 0) bad('promptOf', promptOf[outside] ?? null, 'names no prompt', 'Give for each completion the index of its prompt.');
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) bad('maxNewTokens', maxNewTokens, 'must be a positive integer', 'Say how long completions may become.');
  if (!(temperature >= 0) || !Number.isFinite(temperature)) bad('temperature', temperature, 'must be a number from 0', 'Use 0 for the most probable token.');
  if (!(topP > 0 && topP <= 1)) bad('topP', topP, 'must be above 0 and at most 1', 'Use 1 to keep all tokens.');
  if (!Number.isInteger(topK) || topK < 0) bad('topK', topK, 'must be a whole number from 0', 'Use 0 to keep all tokens.');
  if (!(minP >= 0 && minP < 1)) bad('minP', minP, 'must be at least 0 and below 1', 'Use 0 to keep all tokens.');
  if (options.streams !== undefined && options.streams.length !== promptOf.length) bad('streams', options.streams.length, `should have ${promptOf.length} entries`, 'Give one for each completion.');
}

/** Buffers and plans for one shape of prompts and number of completions. */
interface Session {
  readonly prefill: Plan;
  readonly prefillInputs: ReadonlySet<string>;
  readonly decode: Plan;
  readonly state: Storage;
  readonly history: Storage;
  readonly trace: Storage;
}

async function collect(session: Session, promptOf: readonly number[], { maxNewTokens, stopIds }: GenerateOptions): Promise<Completion[]> {
  const [state, history, trace] = [await session.state.read(), await session.history.read(), await session.trace.read()];
  return promptOf.map((prompt, r) => {
    const n = state[r * STATE_WIDTH + STATE.count]!;
    const tokens = Int32Array.from(history.subarray(r * maxNewTokens, r * maxNewTokens + n));
    const of = (part: number) => Float32Array.from({ length: n }, (_, i) => trace[(r * maxNewTokens + i) * 2 + part]!);
    return { prompt, tokens, logps: of(0), entropies: of(1), finish: n > 0 && stopIds.includes(tokens[n - 1]!) ? 'stop' : 'length' };
  });
}

const SESSIONS = new WeakMap<VisionLanguageModel, Map<string, Promise<Session>>>();

function sessionFor(model: VisionLanguageModel, shape: BatchShape, rows: number, options: GenerateOptions): Promise<Session> {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, maxNewTokens, stopIds, adapter } = options;
  const sampling = { temperature, topK, topP, minP };
  const sessions = SESSIONS.get(model) ?? new Map<string, Promise<Session>>();
  SESSIONS.set(model, sessions);
  const key = JSON.stringify([shape, rows, sampling, maxNewTokens, stopIds, adapter ?? '']);
  let session = sessions.get(key);
  if (session === undefined) {
    session = makeSession(model, shape, rows, sampling, { maxNewTokens, stopIds, adapter });
    sessions.set(key, session);
    session.catch(() => sessions.delete(key));
    model.onForget(() => {
      sessions.delete(key);
      void session!.then((s) => {
        s.prefill.dispose();
        s.decode.dispose();
        for (const storage of [s.state, s.history, s.trace]) storage.dispose();
      }, () => undefined);
    });
  }
  return session;
}

async function makeSession(
  model: VisionLanguageModel,
  shape: BatchShape,
  rows: number,
  sampling: SampleAttributes,
  { maxNewTokens, stopIds, adapter }: { maxNewTokens: number; stopIds: readonly number[]; adapter: string | undefined },
): Promise<Session> {
  const { engine, config } = model;
  const attributes = { rows, maxNewTokens, stopIds };
  const width = 2 * config.numKeyValueHeads * config.headDim;
  const cacheLength = shape.tokens + rows * maxNewTokens;
  const caches = Array.from({ length: config.numHiddenLayers }, (_, i) => engine.createStorage(`cache ${i}`, cacheLength * width));
  const state = engine.createStorage('decode.state', rows * STATE_WIDTH, 'i32');
  const history = engine.createStorage('decode.history', rows * maxNewTokens, 'i32');
  const trace = engine.createStorage('decode.trace', rows * maxNewTokens * 2);
  model.onForget(() => caches.forEach((c) => c.dispose()));
  const buffers = (g: Graph): DecodeBuffers => ({
    state: g.view(state, 0, [rows, STATE_WIDTH]),
    history: g.view(history, 0, [rows, maxNewTokens]),
    trace: g.view(trace, 0, [rows, maxNewTokens, 2]),
  });
  const factors = (g: Graph) => (projection: string) => (adapter === undefined ? undefined : model.adapter(adapter).factors(g, projection));
  const head = (g: Graph, x: Tensor) => languageHead(config, (name) => model.parameter(g, name), factors(g), x);
  /** Puts this layer's keys and values into the cache; decoding also reads them from there. */
  const cacheWith = (g: Graph, cacheRows: Tensor, read: boolean) => (layer: number, qkv: Tensor) => {
    const cache = g.view(caches[layer]!, 0, [cacheLength, width], `cache ${layer}`);
    scatterRowsInto(cache, qkv, cacheRows, config.numAttentionHeads * config.headDim, width);
    return read ? { keys: cache, kColumn: 0, vColumn: width / 2 } : undefined;
  };

  const p = new Graph();
  {
    const g = p;
    const visual = visualInputs(model, g, shape, factors(g));
    const embedded = embed(g.input('ids', [shape.tokens], 'i32'), model.parameter(g, 'embed_tokens'), visual === undefined ? {} : { features: visual.features, source: visual.source });
    const x = textTower(config, (name) => model.parameter(g, name), factors(g), {
      embedded,
      positions: g.input('positions', [3, shape.tokens], 'i32'),
      rotary: model.textRotary(g),
      queryRanges: g.input('queryRanges', [shape.tokens, 6], 'u32'),
      ...(visual === undefined ? {} : { deep: { ...visual, levels: visual.deep } }),
      cache: cacheWith(g, g.input('cacheRows', [shape.tokens], 'i32'), false),
    });
    const last = gatherRows(x, g.input('predictors', [shape.targets], 'i32'), g.input('predictorInverse', [shape.tokens], 'i32'));
    const logits = gatherRows(head(g, last), g.input('ofRow', [rows], 'i32'), g.input('ofRowInverse', [shape.targets], 'i32'));
    const { counters } = decodeInputs(g, g.view(state, 0, [rows, STATE_WIDTH]), attributes);
    decodeAdvance(sample(logits, counters, g.input('key', [2], 'u32'), sampling), buffers(g), attributes);
  }

  const d = new Graph();
  {
    const g = d;
    const inputs = decodeInputs(g, g.view(state, 0, [rows, STATE_WIDTH]), attributes);
    const x = textTower(config, (name) => model.parameter(g, name), factors(g), {
      embedded: embed(inputs.ids, model.parameter(g, 'embed_tokens')),
      positions: inputs.positions,
      rotary: model.textRotary(g),
      queryRanges: inputs.ranges,
      cache: cacheWith(g, inputs.cacheRows, true),
    });
    decodeAdvance(sample(head(g, x), inputs.counters, g.input('key', [2], 'u32'), sampling), buffers(g), attributes);
  }
  const [prefill, decode] = await Promise.all([engine.compile(p), engine.compile(d)]);
  return { prefill, prefillInputs: new Set(p.inputs.keys()), decode, state, history, trace };
}
