/**
 * @file Second stage of the tiny base: the decoder learns to bind, to look up, and to follow a policy in context.
 * Binding comes first (repeated sequences, then lookup drills): a model that starts with everything at once never
 * learns to look up what belongs to an id in its context (measured in an earlier prototype and here, docs/results).
 */
import type { VisionLanguageModel } from '@trimpi/model';
import { PhiloxStream } from '@trimpi/runtime';
import { PretrainingRows, type PretrainingScenes, type RowKind, weightedBatch } from './rows.ts';
import { scheduled } from './schedule.ts';
import type { RowBuilder, WordCodec } from './words.ts';

export interface TextTraining {
  readonly seed: number;
  readonly learningRate: number;
  /** Tokens of a step. */
  readonly batchTokens: number;
  /** Most tokens of repeated sequences (less when their loss falls below 1) and of lookup drills. */
  readonly repeatTokens: number;
  readonly drillTokens: number;
  /** Deepest policies of drills. */
  readonly drillDepth: number;
  readonly mix: readonly MixPhase[];
}

/** A stretch of the mix: shares of its kinds of rows; what is left of one is policies in context. */
export interface MixPhase {
  readonly tokens: number;
  readonly drill: number;
  readonly exist: number;
  /** Share of scenes that are only asked of one or two attributes. */
  readonly short: number;
  readonly caption: number;
  /** Weights of policies of depth 1, 2, ... */
  readonly depths: readonly number[];
  /** Share of policies that show some of their values by pictures (variant M). Default 0. */
  readonly shown?: number;
}

/**
 * What the tiny base is made by. Short questions come first (with questions of four attributes from the start it went on
 * guessing for over a million tokens), then policies of growing depth.
 */
export const TINY_BASE_MIX: readonly MixPhase[] = [
  { tokens: 700_000, drill: 0.05, exist: 0.65, short: 0.8, caption: 0.01, depths: [0.5, 0.5] },
  { tokens: 1_300_000, drill: 0.05, exist: 0.4, short: 0.7, caption: 0.01, depths: [0.35, 0.6, 0.05] },
  { tokens: 3_000_000, drill: 0.04, exist: 0.33, short: 0.5, caption: 0.01, depths: [0.2, 0.4, 0.4] },
];

export interface StepInfo {
  readonly phase: 'repeat' | 'drill' | 'mix';
  readonly step: number;
  /** Tokens so far. */
  readonly tokens: number;
  /** Mean loss by kind of row. */
  readonly losses: Readonly<Record<string, number>>;
}

/** Where a `TextPretrainer` is, as plain JSON; weights and moments are on the device. */
export interface TextState {
  readonly phase: StepInfo['phase'];
  readonly step: number;
  readonly tokens: number;
  /** Tokens with which the phase began. */
  readonly phaseTokens: number;
  /** Running mean of the loss, by which the first two phases end. */
  readonly average: number;
  /** Positions of the two streams of random numbers, and rows made. */
  readonly streams: readonly [number, number, number];
}

/** A batch in the making, and where the streams stood before it. */
interface Prepared {
  readonly phase: StepInfo['phase'];
  readonly done: number;
  readonly before: TextState['streams'];
  readonly kinds: readonly RowKind[];
  readonly packed: ReturnType<typeof weightedBatch>;
}

/** Trains the text tower on features of a frozen vision tower: repeated sequences, lookup drills, then the mix. */
export class TextPretrainer {
  readonly #model: VisionLanguageModel;
  readonly #options: TextTraining;
  readonly #rows: PretrainingRows;
  readonly #random: PhiloxStream;
  #state: Omit<TextState, 'streams'> = { phase: 'repeat', step: 0, tokens: 0, phaseTokens: 0, average: 5 };
  /** The next batch, made while the device computed the last one. */
  #ahead: Prepared | undefined;

  /** @param words those that repeated sequences are drawn from. */
  constructor(model: VisionLanguageModel, codec: WordCodec, data: PretrainingScenes, options: TextTraining, words: readonly string[]) {
    this.#model = model;
    this.#options = options;
    this.#rows = new PretrainingRows(model, codec, data, options.seed, words);
    this.#random = new PhiloxStream(options.seed, 0x3141);
    model.setTrainable('text');
  }

  state(): TextState {
    return { ...this.#state, streams: this.#ahead?.before ?? this.#streams };
  }

  restore({ streams, ...state }: TextState): void {
    this.#state = state;
    this.#streams = streams;
    this.#ahead = undefined;
  }

  get #streams(): TextState['streams'] {
    return [this.#random.position, ...this.#rows.position];
  }

  set #streams([random, ...rows]: TextState['streams']) {
    this.#random.position = random;
    this.#rows.position = rows;
  }

  /** The phase of the next step: a phase ends when its loss is low enough or its tokens are used up. */
  get phase(): StepInfo['phase'] | 'done' {
    const { phase, tokens, phaseTokens, average } = this.#state;
    const used = tokens - phaseTokens;
    if (phase === 'repeat' && average > 0.6 && used < this.#options.repeatTokens) return 'repeat';
    if (phase !== 'mix' && !(phase === 'drill' && (average <= 0.06 || used >= this.#options.drillTokens))) return 'drill';
    return phase === 'mix' && used >= this.#mixTokens ? 'done' : 'mix';
  }

  async next(): Promise<StepInfo> {
    const phase = this.phase;
    if (phase === 'done') throw new Error('the training is done');
    if (phase !== this.#state.phase) this.#state = { ...this.#state, phase, phaseTokens: this.#state.tokens, average: 3 };
    const { learningRate, batchTokens } = this.#options;
    const step = this.#state.step + 1;
    const done = this.#state.tokens - this.#state.phaseTokens;
    const warm = Math.min(1, step / 40);
    const mixSteps = Math.ceil(this.#mixTokens / batchTokens);
    const rate = warm * (phase === 'mix' ? scheduled(learningRate, Math.floor(done / batchTokens) + 100, mixSteps + 100, 1) : learningRate);

    const { kinds, packed: { batch, weights, dLogp, rowOf } } = this.#take(phase, done);
    const running = this.#model.accumulate(batch, dLogp);
    // The device has its work by the next turn of the event loop.
    await new Promise((r) => setTimeout(r));
    this.#prepareAhead(phase, done + batch.tokens);
    const { logp } = await running;
    await this.#model.step({ learningRate: rate, beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0.05, maxNorm: 1, step, gradScale: 1 });
    const sums = new Map<string, [number, number]>();
    rowOf.forEach((row, i) => {
      if (weights[i]! < 0.2) return;
      const kind = row < 0 ? 'name' : kinds[row]!;
      const s = sums.get(kind) ?? [0, 0];
      sums.set(kind, [s[0] - logp[i]!, s[1] + 1]);
    });
    const losses = Object.fromEntries([...sums].map(([k, [a, n]]) => [k, a / n]));
    const tokens = this.#state.tokens + batch.tokens;
    this.#state = { ...this.#state, step, tokens, average: 0.9 * this.#state.average + 0.1 * (losses[phase] ?? 3) };
    return { phase, step, tokens, losses };
  }

  #take(phase: StepInfo['phase'], done: number): Prepared {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    if (ahead === undefined) return this.#prepare(phase, done);
    if (ahead.phase === phase && ahead.done === done) return ahead;
    // Another phase has begun: what was made for the last one is as if it had never been.
    this.#streams = ahead.before;
    return this.#prepare(phase, done);
  }

  #prepareAhead(phase: StepInfo['phase'], done: number): void {
    if (phase === 'mix' && done >= this.#mixTokens) return;
    this.#ahead = this.#prepare(phase, done);
  }

  #prepare(phase: StepInfo['phase'], done: number): Prepared {
    const before = this.#streams;
    const kinds: RowKind[] = [];
    const rows: RowBuilder[] = [];
    for (let n = 0; n < this.#options.batchTokens; ) {
      const [kind, depth, short] = this.#pick(phase, done);
      const row = this.#rows.row(kind, depth, short);
      kinds.push(kind);
      rows.push(row);
      n += row.ids.length;
    }
    return { phase, done, before, kinds, packed: weightedBatch(this.#model, rows) };
  }

  get #mixTokens(): number {
    return this.#options.mix.reduce((n, p) => n + p.tokens, 0);
  }

  #pick(phase: StepInfo['phase'], done: number): readonly [RowKind, number, number?] {
    const random = this.#random;
    const { mix, drillDepth } = this.#options;
    if (phase === 'repeat') return ['repeat', 1];
    if (phase === 'drill') return random.next() < 0.15 ? ['repeat', 1] : ['drill', 1 + random.integer(drillDepth)];
    let end = 0;
    const { drill, exist, short, caption, depths, shown = 0 } = mix.find((p) => done < (end += p.tokens)) ?? mix[mix.length - 1]!;
    const u = random.next();
    if (u < drill) return ['drill', 1 + random.integer(drillDepth)];
    if (u < drill + exist) return ['exist', 1, short];
    if (u < drill + exist + caption) return ['caption', 1];
    let v = random.next() * depths.reduce((a, w) => a + w, 0);
    const depth = 1 + depths.findIndex((w, i) => (v -= w) < 0 || i === depths.length - 1);
    return [shown > 0 && random.next() < shown ? 'shown' : 'policy', depth];
  }
}
