/**
 * @file Sampling many completions at once. Every distinct prompt is read once, however many completions it gets, and what all
 * prompts begin with (a policy) once for all of them; keys
 * and values stay in a cache on the device, and so does everything a decoding step needs (see `decodeInputs`), so that
 * steps are submitted one after the other without waiting for the host.
 */
import { decodeAdvance, type DecodeBuffers, decodeInputs, Graph, type HostArray, type Plan, sample, type SampleAttributes, scatterRowsInto, STATE, STATE_WIDTH, type Storage, type Tensor } from '@trimpi/runtime';
import { ModelError } from '../errors.ts';
import { packBatch, sharedPrefix, type TokenSequence } from '../vl/batch.ts';
import type { VisionLanguageModel } from '../vl/model.ts';
import { batchInputs, type BatchShape, embedTokens, roundUp, shapeOf, visualInputs } from '../vl/plans.ts';
import { languageHead, textTower } from '../vl/towers.ts';

export interface GenerateOptions extends Partial<SampleAttributes> {
  /** Which adapter is on; none by default. */
  readonly adapter?: string;
  readonly maxNewTokens: number;
  /** Tokens after which a completion ends; they stay at its end. */
  readonly stopIds: readonly number[];
  /** Ends a completion with the token that completes one of these strings in its text. */
  readonly stop?: { readonly strings: readonly string[]; readonly decode: (tokens: Int32Array) => string };
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

export interface Completion {
  readonly prompt: number;
  readonly tokens: Int32Array;
  /** Log-probability of each token under the full distribution at the sampling temperature. */
  readonly logps: Float32Array;
  /** Entropy of the distribution each token was drawn from, nats. */
  readonly entropies: Float32Array;
  /** `stop`: ended with a stop token or string; `length`: reached maxNewTokens (or was interrupted). */
  readonly finish: 'stop' | 'length';
}

/** Shorter common beginnings are read with each prompt. */
const SHORTEST_SHARED = 8;

/** Samples completions of prompts. Throws ModelError `invalid-input` for options out of range. */
export async function generate(model: VisionLanguageModel, prompts: readonly TokenSequence[], options: GenerateOptions): Promise<Completion[]> {
  const promptOf = options.promptOf ?? prompts.map((_, i) => i);
  check(prompts, promptOf, options);
  if (options.adapter !== undefined) await model.adapter(options.adapter).ready;
  const common = options.sharePrefix === false ? 0 : sharedPrefix(model.config, prompts);
  const prefix = common >= SHORTEST_SHARED ? common : 0;
  // All of a prompt but its last token, which is the first one that decoding takes in.
  const heads = prompts.map((p) => withoutLast(p));
  const packed = heads.map((sequence, prompt) => ({ sequence, prompt })).filter(({ sequence }) => sequence.inputIds.length > 0);
  const batch = packed.length === 0 ? undefined : packBatch(model.config, packed.map(({ sequence }) => ({ sequence, predict: [] })), { prefix });
  const shape = batch === undefined ? NOTHING_TO_READ : { ...shapeOf(batch, model.config.vision.spatialMergeSize), targets: 0 };
  const rows = Math.ceil(Math.min(options.maxRows ?? promptOf.length, promptOf.length) / 8) * 8;
  const session = await sessionFor(model, shape, rows, options);

  const lengths = heads.map((h) => h.inputIds.length);
  let at = prefix;
  const starts = lengths.map((n) => {
    const start = at;
    at += Math.max(0, n - prefix);
    return start;
  });
  /** The state in which a row begins completion `index`. */
  const begin = (row: number, index: number): Int32Array => {
    const prompt = prompts[promptOf[index]!]!;
    const n = prompt.inputIds.length;
    const fields: Record<keyof typeof STATE, number> = {
      token: prompt.inputIds[n - 1]!,
      count: 0,
      finished: 0,
      sharedLow: 0,
      sharedHigh: prefix,
      promptLow: starts[promptOf[index]!]!,
      promptHigh: starts[promptOf[index]!]! + n - 1 - prefix,
      nextPosition: Math.max(...[0, 1, 2].map((axis) => prompt.positionIds[axis * n + n - 1]!)) + 1,
      base: shape.tokens + row * options.maxNewTokens,
      stream: options.streams?.[index] ?? index,
    };
    const out = new Int32Array(STATE_WIDTH);
    for (const [key, value] of Object.entries(fields)) out[STATE[key as keyof typeof STATE]] = value;
    return out;
  };

  /** Completion of each row, and the next one that has no row yet. */
  const ofRow = Array.from({ length: rows }, (_, r) => (r < promptOf.length ? r : -1));
  let waiting = Math.min(rows, promptOf.length);
  /** The step after which the completion of a row is as long as it may become. */
  const fullAt = ofRow.map(() => options.maxNewTokens);
  const initial = new Int32Array(rows * STATE_WIDTH);
  ofRow.forEach((index, r) => {
    if (index >= 0) initial.set(begin(r, index), r * STATE_WIDTH);
    else initial[r * STATE_WIDTH + STATE.finished] = 1;
  });
  session.state.write(initial);
  if (batch !== undefined) {
    await session.prefill.run({ ...batchInputs(batch, shape, session.prefillInputs), cacheRows: Int32Array.from({ length: shape.tokens }, (_, i) => (i < batch.tokens ? i : -1)) });
  }
  options.onPrefill?.({ given: lengths.reduce((a, b) => a + b, 0), computed: batch?.tokens ?? 0 });

  const key = Uint32Array.of(options.seed >>> 0, Math.floor(options.seed / 4294967296) >>> 0);
  const done: Completion[] = Array.from({ length: promptOf.length }, (_, i) => ({ prompt: promptOf[i]!, tokens: new Int32Array(0), logps: new Float32Array(0), entropies: new Float32Array(0), finish: 'length' }));
  const look = options.lookEvery ?? 8;
  for (let running = true, step = 1; running; step++) {
    await session.decode.run(step === 1 ? { key } : {});
    if (step % look !== 0 && !fullAt.includes(step)) continue;
    const state = await session.state.read();
    const field = (row: number, name: keyof typeof STATE) => state[row * STATE_WIDTH + STATE[name]]!;
    const active = ofRow.flatMap((index, row) => (index >= 0 ? [{ row, index }] : []));
    const streams = options.onProgress !== undefined || options.stop !== undefined || options.signal?.aborted === true;
    if (!streams && active.every(({ row }) => field(row, 'finished') === 0)) continue;
    const [history, trace] = [await session.history.read(), await session.trace.read()];
    running = false;
    for (const { row, index } of active) {
      const completion = completionOf(row, field(row, 'count'), promptOf[index]!, history, trace, options);
      done[index] = completion;
      if (field(row, 'finished') === 0 && completion.finish !== 'stop') {
        running = true;
        continue;
      }
      ofRow[row] = -1;
      if (waiting < promptOf.length) {
        ofRow[row] = waiting;
        fullAt[row] = step + options.maxNewTokens;
        session.state.write(begin(row, waiting++), row * STATE_WIDTH);
        running = true;
      } else if (field(row, 'finished') === 0) session.state.write(Int32Array.of(1), row * STATE_WIDTH + STATE.finished);
    }
    options.onProgress?.([...done]);
    if (options.signal?.aborted === true) break;
  }
  return done;
}

const NOTHING_TO_READ: BatchShape = { tokens: 0, targets: 0, vision: 'none', patches: 0, cells: 0 };

function withoutLast({ inputIds, positionIds, images }: TokenSequence): TokenSequence {
  const n = inputIds.length;
  const cut = (values: ArrayLike<number>, from: number) => Array.from({ length: n - 1 }, (_, i) => values[from + i]!);
  return { inputIds: cut(inputIds, 0), positionIds: [0, 1, 2].flatMap((axis) => cut(positionIds, axis * n)), images };
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
  prompts.forEach((p, i) => {
    if (p.inputIds.length === 0) bad(`prompts[${i}].inputIds`, 0, 'is empty', 'A prompt needs at least one token.');
  });
  for (const [name, value] of [['maxRows', options.maxRows], ['lookEvery', options.lookEvery]] as const) {
    if (value !== undefined && (!Number.isInteger(value) || value < 1)) bad(name, value, 'must be a positive integer', 'Leave it out for the default.');
  }
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

/** What row `row` holds after `n` tokens, cut where a stop string is complete. */
function completionOf(row: number, n: number, prompt: number, history: HostArray, trace: HostArray, { maxNewTokens, stopIds, stop }: GenerateOptions): Completion {
  const all = Int32Array.from(history.subarray(row * maxNewTokens, row * maxNewTokens + n));
  const end = stop === undefined ? undefined : stopAt(all, stop);
  const tokens = end === undefined ? all : all.slice(0, end);
  const of = (part: number) => Float32Array.from(tokens, (_, i) => trace[(row * maxNewTokens + i) * 2 + part]!);
  return { prompt, tokens, logps: of(0), entropies: of(1), finish: end !== undefined || (tokens.length > 0 && stopIds.includes(tokens[tokens.length - 1]!)) ? 'stop' : 'length' };
}

/** The fewest tokens whose text holds one of the strings. */
function stopAt(tokens: Int32Array, { strings, decode }: NonNullable<GenerateOptions['stop']>): number | undefined {
  const holds = (n: number) => {
    const text = decode(tokens.subarray(0, n));
    return strings.some((s) => text.includes(s));
  };
  if (!holds(tokens.length)) return undefined;
  let n = tokens.length;
  while (n > 1 && holds(n - 1)) n--;
  return n;
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

/** Bytes that sampling with these sizes takes: plans, cache and state. `storageBytes` reads what the engine holds. */
export async function generationMemory(model: VisionLanguageModel, { tokens, rows, maxNewTokens, adapter }: { readonly tokens: number; readonly rows: number; readonly maxNewTokens: number; readonly adapter?: string }, storageBytes: () => number): Promise<number> {
  const before = storageBytes();
  const shape: BatchShape = { ...NOTHING_TO_READ, tokens: roundUp(tokens, 32) };
  const session = await makeSession(model, shape, Math.ceil(rows / 8) * 8, { temperature: 1, topK: 0, topP: 1, minP: 0 }, { maxNewTokens, stopIds: [], adapter });
  return storageBytes() - before + session.prefill.memory().total + session.decode.memory().total;
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
  const parametersOf = (g: Graph) => model.parameters(g, adapter === undefined ? undefined : model.adapter(adapter));
  /** Puts this layer's keys and values into the cache; decoding also reads them from there. */
  const cacheWith = (g: Graph, cacheRows: Tensor, read: boolean) => (layer: number, qkv: Tensor) => {
    const cache = g.view(caches[layer]!, 0, [cacheLength, width], `cache ${layer}`);
    scatterRowsInto(cache, qkv, cacheRows, config.numAttentionHeads * config.headDim, width);
    return read ? { keys: cache, kColumn: 0, vColumn: width / 2 } : undefined;
  };

  const p = new Graph();
  if (shape.tokens > 0) {
    const g = p;
    const parameters = parametersOf(g);
    const visual = visualInputs(model, g, shape, parameters);
    const embedded = embedTokens(model, g, g.input('ids', [shape.tokens], 'i32'), visual);
    // What comes of the last layer is not needed, so the plan leaves it out: only keys and values count.
    textTower(config, parameters, {
      embedded,
      positions: g.input('positions', [3, shape.tokens], 'i32'),
      rotary: model.textRotary(g),
      queryRanges: g.input('queryRanges', [shape.tokens, 6], 'u32'),
      ...(visual === undefined ? {} : { deep: { ...visual, levels: visual.deep } }),
      cache: cacheWith(g, g.input('cacheRows', [shape.tokens], 'i32'), false),
    });
  }

  const d = new Graph();
  {
    const g = d;
    const inputs = decodeInputs(g, g.view(state, 0, [rows, STATE_WIDTH]), attributes);
    const parameters = parametersOf(g);
    const x = textTower(config, parameters, {
      embedded: embedTokens(model, g, inputs.ids, undefined),
      positions: inputs.positions,
      rotary: model.textRotary(g),
      queryRanges: inputs.ranges,
      cache: cacheWith(g, inputs.cacheRows, true),
    });
    decodeAdvance(sample(languageHead(config, parameters, x), inputs.counters, g.input('key', [2], 'u32'), sampling), buffers(g), attributes);
  }
  const [prefill, decode] = await Promise.all([engine.compile(p), engine.compile(d)]);
  return { prefill, prefillInputs: new Set(p.inputs.keys()), decode, state, history, trace };
}
