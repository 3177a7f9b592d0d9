/**
 * @file Sampling that goes on while completions come and go (continuous batching, as in Orca, OSDI 2022). A completion has
 * a row of the decoding plan and a range of the cache for as long as it lasts, so one that arrives joins those under way at
 * the next step, and one that ends or is stopped makes room at once. Every row has settings, seed and length of its own.
 * Keys and values stay on the device, and so does everything a step needs (see `decodeInputs`): steps are submitted one
 * after the other, and the host looks at them only now and then.
 */
import { Graph, type Plan, sampleSettings, seenWords, SETTINGS_WIDTH, STATE, STATE_WIDTH } from '@trimpi/runtime';
import { requireInteger } from '../checks.ts';
import { ModelError } from '../errors.ts';
import type { VisionLanguageModel } from '../vl/model.ts';
import { PlanCache } from '../vl/plan-cache.ts';
import { batchInputs, type BatchShape, type ReadyPlan, shapeOf } from '../vl/plans.ts';
import type { GenerationCache } from './cache.ts';
import { type Completion, completionOf } from './completion.ts';
import { type DecodeRows, recordDecode, recordPrefill, type SeenTokens } from './plans.ts';
import type { PromptLayout } from './prompts.ts';
import { checkSampling, checkStopIds, type CompletionRequest, settingsOf } from './request.ts';
import type { Range } from './space.ts';

export interface SamplerOptions {
  /** Which adapter is on; none by default. */
  readonly adapter?: string;
  /** Completions at once. */
  readonly rows: number;
  /** Row counts that a decoding plan is made for, when it is needed: the smallest that holds all active rows runs. */
  readonly widths: readonly number[];
  /** Tokens after which a completion ends; they stay at its end. */
  readonly stopIds: readonly number[];
}

/** A completion under way. */
export interface Sampled {
  /** What it had at the last look. */
  readonly completion: Completion;
  /** Whether nothing comes any more. */
  readonly done: boolean;
  /** Ends it with what it had at the last look; its row and its memory are free at once. */
  stop(): void;
}

/** Prompts read together. */
interface Group {
  readonly layout: PromptLayout;
  readonly prefix: Range;
  readonly prompts: readonly { readonly range: Range; users: number }[];
  /** Completions without a row yet; they take those of the group's as these become free. */
  readonly waiting: Task[];
  users: number;
}

interface Task extends Sampled {
  completion: Completion;
  done: boolean;
  readonly group: Group;
  readonly request: CompletionRequest;
}

/** A row in use. */
interface Lane {
  readonly row: number;
  readonly range: Range;
  task: Task;
  /** Steps that its completion was part of. */
  steps: number;
}

/** What plans of further shapes of prompts may hold, bytes. */
const PREFILL_BYTES = 2 ** 28;
const LOOK_EVERY = 8;

export class Sampler {
  readonly model: VisionLanguageModel;
  readonly cache: GenerationCache;
  readonly #o: SamplerOptions;
  readonly #rows: DecodeRows;
  readonly #lanes = new Map<number, Lane>();
  /** Rows of completions whose prompts are being read. */
  readonly #reserved = new Set<number>();
  readonly #decode = new Map<string, Promise<Plan>>();
  readonly #prefill = new PlanCache<ReadyPlan>(PREFILL_BYTES);
  readonly #unsubscribe: () => void;
  /** Made when the first completion with a penalty begins. */
  #seen: SeenTokens | undefined;
  #steps = 0;
  #disposed = false;

  /** Given up, as by `dispose`, when plans of the model are (adapters change, the model is disposed). */
  constructor(model: VisionLanguageModel, cache: GenerationCache, options: SamplerOptions) {
    checkStopIds(options.stopIds);
    this.model = model;
    this.cache = cache;
    this.#o = options;
    const { engine } = model;
    this.#rows = { state: engine.createStorage('decode.state', options.rows * STATE_WIDTH, 'i32'), settings: engine.createStorage('decode.settings', options.rows * SETTINGS_WIDTH) };
    this.#unsubscribe = model.onForget(() => this.dispose());
    // Rows that no completion has are as finished ones.
    this.#rows.state.write(Int32Array.from({ length: options.rows * STATE_WIDTH }, (_, i) => Number(i % STATE_WIDTH === STATE.finished)));
  }

  /** Rows in use, or that were when this was disposed: `step` rejects then. */
  get active(): number {
    return this.#lanes.size;
  }

  /**
   * Reads prompts and begins completions; not while `step` runs. Completions beyond `rows` wait for those of this call.
   * @returns undefined when rows or cache have no room for it now; nothing has been done then.
   * @throws ModelError `invalid-input` for requests out of range, and when this is disposed before they begin.
   */
  async add(layout: PromptLayout, requests: readonly CompletionRequest[]): Promise<Sampled[] | undefined> {
    this.#check(layout, requests);
    if (this.#o.adapter !== undefined) await this.model.adapter(this.#o.adapter).ready;
    this.#requireAlive();
    const count = Math.min(requests.length, this.#o.rows);
    const rows = Array.from({ length: this.#o.rows }, (_, row) => row).filter((row) => !this.#lanes.has(row) && !this.#reserved.has(row)).slice(0, count);
    if (rows.length < count) return undefined;
    const longest = Math.max(...requests.map((r) => r.maxNewTokens));
    const lengths = requests.slice(0, count).map((r) => (requests.length > count ? longest : r.maxNewTokens));
    const taken = this.cache.space.take([layout.prefix, ...layout.own, ...lengths]);
    if (taken === undefined) return undefined;
    const [prefix, ...rest] = taken as [Range, ...Range[]];
    const group: Group = { layout, prefix, prompts: rest.slice(0, layout.own.length).map((range) => ({ range, users: 0 })), waiting: [], users: requests.length };
    const tasks = requests.map((request) => this.#task(group, request));
    for (const { prompt } of requests) group.prompts[prompt]!.users++;
    for (const prompt of group.prompts) if (prompt.users === 0) this.cache.space.give(prompt.range);
    for (const row of rows) this.#reserved.add(row);
    try {
      await this.#read(group);
      this.#requireAlive();
    } catch (error) {
      this.#give(group, rest.slice(layout.own.length));
      this.#requireAlive();
      throw error;
    } finally {
      for (const row of rows) this.#reserved.delete(row);
    }
    if (this.#lanes.size === 0) this.#steps = 0;
    group.waiting.push(...tasks.slice(count));
    tasks.slice(0, count).forEach((task, i) => {
      const lane: Lane = { row: rows[i]!, range: rest[layout.own.length + i]!, task, steps: 0 };
      this.#lanes.set(lane.row, lane);
      this.#begin(lane);
    });
    return tasks;
  }

  /**
   * One token for every row. True when it looked at what has come (and completions may have ended).
   * @throws ModelError `invalid-input` when this was disposed before its completions were done: they stay as they are, not done.
   */
  async step(): Promise<boolean> {
    const lanes = [...this.#lanes.values()];
    if (lanes.length === 0) return false;
    this.#requireAlive();
    try {
      return await this.#step(lanes);
    } catch (error) {
      // The reason, where its plans and storage were given up under it.
      this.#requireAlive();
      throw error;
    }
  }

  async #step(lanes: readonly Lane[]): Promise<boolean> {
    const top = Math.max(...lanes.map((lane) => lane.row)) + 1;
    const width = this.#o.widths.find((w) => w >= top) ?? this.#o.rows;
    const plan = await this.#decodePlan(width, lanes.some(({ task }) => penaltyOf(task.request) !== 1));
    // Its ranges may be another sampler's by now.
    this.#requireAlive();
    await plan.run({});
    this.#requireAlive();
    this.#steps++;
    for (const lane of lanes) lane.steps++;
    const every = Math.min(...lanes.map(({ task }) => task.request.lookEvery ?? LOOK_EVERY));
    if (this.#steps % every !== 0 && lanes.every(({ steps, task }) => steps < task.request.maxNewTokens)) return false;
    await this.#look(lanes, width);
    return true;
  }

  /** Gives everything up; what completions under way had in the cache is free. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#unsubscribe();
    const lanes = [...this.#lanes.values()];
    // What prompts that are being read have, their `add` gives back.
    for (const group of new Set(lanes.map(({ task }) => task.group))) this.#give(group, lanes.filter(({ task }) => task.group === group).map(({ range }) => range));
    for (const plan of this.#decode.values()) void plan.then((p) => p.dispose(), () => undefined);
    this.#prefill.clear();
    this.#rows.state.dispose();
    this.#rows.settings.dispose();
    this.#seen?.seen.dispose();
    this.#seen?.penalties.dispose();
  }

  #requireAlive(): void {
    if (this.#disposed) throw new ModelError('invalid-input', { argument: 'sampler', value: this.#o.adapter ?? null, message: 'was disposed, or the adapters of its model changed', remedy: 'Make a new one and sample again; change adapters only while nothing is sampled.' });
  }

  /** Gives back what a group has in the cache, and the ranges of its completions. */
  #give({ prefix, prompts }: Group, completions: readonly Range[]): void {
    for (const range of [prefix, ...prompts.flatMap((p) => (p.users > 0 ? [p.range] : [])), ...completions]) this.cache.space.give(range);
  }

  #check({ prompts }: PromptLayout, requests: readonly CompletionRequest[]): void {
    this.#requireAlive();
    if (requests.length === 0) throw new ModelError('invalid-input', { argument: 'requests', value: 0, message: 'is empty', remedy: 'Ask for at least one completion.' });
    const positions = this.model.textRotary(new Graph()).shape[0]!;
    requests.forEach((request, i) => {
      checkSampling(request, `requests[${i}].`);
      requireInteger(`requests[${i}].stream`, request.stream, 'Give a whole number.', 0);
      const prompt = prompts[request.prompt];
      if (prompt === undefined) throw new ModelError('invalid-input', { argument: `requests[${i}].prompt`, value: request.prompt, message: 'names no prompt', remedy: 'Give the index of its prompt.' });
      const last = nextPosition(prompt) + request.maxNewTokens - 1;
      if (last > positions) throw new ModelError('invalid-input', { argument: `requests[${i}].maxNewTokens`, value: request.maxNewTokens, message: `leads to position ${last} of the ${positions} that this model has`, remedy: 'Ask for fewer tokens, or create the model with a larger maxPositions.' });
    });
  }

  #task(group: Group, request: CompletionRequest): Task {
    const task: Task = {
      group, request, done: false,
      completion: { prompt: request.prompt, tokens: new Int32Array(0), logps: new Float32Array(0), entropies: new Float32Array(0), finish: 'length' },
      stop: () => {
        if (task.done || this.#disposed) return;
        const at = group.waiting.indexOf(task);
        const lane = [...this.#lanes.values()].find((l) => l.task === task);
        if (at >= 0) {
          group.waiting.splice(at, 1);
          this.#leave(task);
        } else if (lane !== undefined) this.#next(lane);
      },
    };
    return task;
  }

  /** Puts keys and values of prompts into the cache. */
  async #read({ layout, prefix, prompts }: Group): Promise<void> {
    const { batch } = layout;
    if (batch === undefined) return;
    this.model.checkBatch(batch);
    const shape: BatchShape = { ...shapeOf(batch, this.model.config.vision.spatialMergeSize), targets: 0 };
    const ready = await this.#prefillPlan(shape);
    this.#requireAlive();
    const cacheRows = new Int32Array(shape.tokens).fill(-1);
    let at = 0;
    for (const { range, users } of [{ range: prefix, users: 1 }, ...prompts]) {
      for (let i = 0; i < range.length; i++) cacheRows[at++] = users > 0 ? range.start + i : -1;
    }
    await ready.plan.run({ ...batchInputs(batch, shape, ready.inputs), cacheRows });
  }

  /** Writes the state in which a lane begins its completion. */
  #begin({ row, range, task: { group, request } }: Lane): void {
    const { prompts } = group.layout;
    const prompt = prompts[request.prompt]!;
    const own = group.prompts[request.prompt]!.range;
    const fields: Record<keyof typeof STATE, number> = {
      token: prompt.inputIds[prompt.inputIds.length - 1]!,
      count: 0,
      finished: 0,
      sharedLow: group.prefix.start,
      sharedHigh: group.prefix.start + group.prefix.length,
      promptLow: own.start,
      promptHigh: own.start + own.length,
      nextPosition: nextPosition(prompt),
      base: range.start,
      stream: request.stream,
      limit: request.maxNewTokens,
      keyLow: request.seed,
      keyHigh: Math.floor(request.seed / 4294967296),
    };
    const state = new Int32Array(STATE_WIDTH);
    for (const [key, value] of Object.entries(fields)) state[STATE[key as keyof typeof STATE]] = value;
    this.#rows.state.write(state, row * STATE_WIDTH);
    this.#rows.settings.write(Float32Array.from(sampleSettings(settingsOf(request))), row * SETTINGS_WIDTH);
    this.#penalise(row, penaltyOf(request), prompt.inputIds);
  }

  /** Writes what a row begins with for its penalty: the tokens of its prompt are seen. */
  #penalise(row: number, penalty: number, ids: ArrayLike<number>): void {
    const { engine, config } = this.model;
    const words = seenWords(config.vocabSize);
    if (this.#seen === undefined) {
      if (penalty === 1) return;
      const { rows } = this.#o;
      this.#seen = { seen: engine.createStorage('decode.seen', rows * words, 'u32'), penalties: engine.createStorage('decode.penalties', rows) };
      this.#seen.penalties.write(new Float32Array(rows).fill(1));
    }
    this.#seen.penalties.write(Float32Array.of(penalty), row);
    if (penalty === 1) return;
    const bits = new Uint32Array(words);
    for (const id of Array.from(ids)) bits[id >> 5]! |= 1 << (id & 31);
    this.#seen.seen.write(bits, row * words);
  }

  async #look(lanes: readonly Lane[], width: number): Promise<void> {
    const low = Math.min(...lanes.map((l) => l.range.start));
    const length = Math.max(...lanes.map((l) => l.range.start + Math.min(l.steps, l.range.length))) - low;
    const [state, history, trace] = await Promise.all([this.#rows.state.read(0, width * STATE_WIDTH), this.cache.history.read(low, length), this.cache.trace.read(2 * low, 2 * length)]);
    this.#requireAlive();
    for (const lane of lanes) {
      const { row, range, task } = lane;
      // It may have been stopped meanwhile.
      if (this.#lanes.get(row) !== lane) continue;
      const at = range.start - low;
      const n = state[row * STATE_WIDTH + STATE.count]!;
      task.completion = completionOf(task.request.prompt, Int32Array.from(history.subarray(at, at + n)), trace.subarray(2 * at, 2 * (at + n)), this.#o.stopIds, task.request.stop);
      if (state[row * STATE_WIDTH + STATE.finished] !== 0 || task.completion.finish === 'stop') this.#next(lane);
    }
  }

  /** A lane's completion has ended: the next one of its group begins there, or the lane is given up. */
  #next(lane: Lane): void {
    const { row, task } = lane;
    const next = task.group.waiting.shift();
    this.#leave(task);
    if (next !== undefined) {
      const again: Lane = { row, range: lane.range, task: next, steps: 0 };
      this.#lanes.set(row, again);
      this.#begin(again);
      return;
    }
    this.#lanes.delete(row);
    this.cache.space.give(lane.range);
    this.#rows.state.write(Int32Array.of(1), row * STATE_WIDTH + STATE.finished);
  }

  #leave(task: Task): void {
    task.done = true;
    const { group, request } = task;
    const prompt = group.prompts[request.prompt]!;
    if (--prompt.users === 0) this.cache.space.give(prompt.range);
    if (--group.users === 0) this.cache.space.give(group.prefix);
  }

  /** Steps in which no row has a penalty have a plan without. */
  #decodePlan(width: number, penalised: boolean): Promise<Plan> {
    const { adapter, stopIds } = this.#o;
    return once(this.#decode, `${width}${penalised ? ' penalised' : ''}`, () => this.model.engine.compile(recordDecode(this.model, this.cache, this.#rows, width, adapter, stopIds, penalised ? this.#seen : undefined)));
  }

  #prefillPlan(shape: BatchShape): Promise<ReadyPlan> {
    return this.#prefill.get(JSON.stringify(shape), async () => {
      const graph = recordPrefill(this.model, this.cache, shape, this.#o.adapter);
      return { plan: await this.model.engine.compile(graph), inputs: new Set(graph.inputs.keys()), shape };
    });
  }
}

function penaltyOf({ repetitionPenalty = 1 }: CompletionRequest): number {
  return repetitionPenalty;
}

/** The value of a key, made when it is asked for first; a failure is not kept. */
function once<K, V>(map: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
    value.catch(() => map.delete(key));
  }
  return value;
}

/** Position (all axes) of the token behind a prompt. */
function nextPosition({ inputIds, positionIds }: PromptLayout['prompts'][number]): number {
  const n = inputIds.length;
  return Math.max(...[0, 1, 2].map((axis) => positionIds[axis * n + n - 1]!)) + 1;
}
