/**
 * @file Second stage of the tiny base: the decoder learns to bind, to look up, and to follow a policy in context.
 * Binding comes first (repeated sequences, then lookup drills): a model that starts with everything at once never
 * learns to look up what belongs to an id in its context (measured in an earlier prototype and here, docs/results).
 */
import { captionScene, COMPACT_NAME_WORDS, compactAnswer, compactPolicyText, compactQuery, compactReasoning, compactResponse, compactVocabulary, evaluateTree, existenceQuestions, lookupDrill, sampleTree, type Scene } from '@trimpi/datasets';
import { type BatchImage, type BatchRow, generate, packBatch, type VisionLanguageModel } from '@trimpi/model';
import { PhiloxStream } from '@trimpi/runtime';
import { scheduled } from './schedule.ts';
import { TINY_BASE_SCENES } from './scenes.ts';
import { RowBuilder, WordCodec } from './words.ts';

export interface TextTraining {
  readonly seed: number;
  readonly learningRate: number;
  /** Tokens of a step. */
  readonly batchTokens: number;
  /** Most tokens of repeated sequences (less when their loss falls below 1) and of lookup drills. */
  readonly repeatTokens: number;
  readonly drillTokens: number;
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

export interface PretrainingScenes {
  readonly scenes: readonly Scene[];
  /** For each scene, the object in each cell, or -1. */
  readonly cells: readonly Int16Array[];
  readonly features: readonly BatchImage[];
}

type Kind = 'repeat' | 'drill' | 'exist' | 'caption' | 'policy';

/** Makes rows of every kind; a function of the seed and of how many were made. */
export class PretrainingRows {
  readonly #random: PhiloxStream;
  readonly #model: VisionLanguageModel;
  readonly #codec: WordCodec;
  readonly #data: PretrainingScenes;
  readonly #vocabulary = compactVocabulary();
  #made = 0;

  constructor(model: VisionLanguageModel, codec: WordCodec, data: PretrainingScenes, seed: number) {
    this.#model = model;
    this.#codec = codec;
    this.#data = data;
    this.#random = new PhiloxStream(seed, 0x7e87);
  }

  /** Where its random numbers stand, and how many rows were made. */
  get position(): [number, number] {
    return [this.#random.position, this.#made];
  }

  set position([random, made]: readonly [number, number]) {
    this.#random.position = random;
    this.#made = made;
  }

  /** A row of a kind; `depth` of policies and drills, `short` as in MixPhase. */
  row(kind: Kind, depth: number, short = 0.8): RowBuilder {
    const b = new RowBuilder(this.#model.config, this.#codec);
    const r = this.#random;
    const index = this.#made++;
    switch (kind) {
      case 'repeat': {
        const words = this.#codec.encode(Array.from({ length: 6 + r.integer(20) }, () => this.#vocabulary[r.integer(this.#vocabulary.length)]).join(' '));
        return b.tokens(words).tokens(words.slice(0, 1)).tokens(words.slice(1), 1);
      }
      case 'drill': {
        const { policyText, pairs } = lookupDrill({ depth, seed: `drill ${this.#random.word()}`, index });
        b.text(policyText);
        for (const { id, content } of pairs) b.text(id).text(content, 1).text(';');
        return b;
      }
      case 'exist': {
        const i = r.integer(this.#data.scenes.length);
        this.#see(b, i);
        for (const q of this.#questions(this.#data.scenes[i]!, short)) b.text(q.question).text(q.answer, 1);
        return b;
      }
      case 'caption': {
        const i = r.integer(this.#data.scenes.length);
        return this.#see(b, i).text('caption').text(captionScene(this.#data.scenes[i]!, { ...TINY_BASE_SCENES, cell: 16 }).replace(/^caption /, ''), 0.3).end(0.3);
      }
      case 'policy': {
        const e = this.policyExample(depth);
        return this.#see(b.text(e.policyText, 0.1), e.scene).text(e.query).text(e.response, 1).end(1);
      }
      default:
        return kind satisfies never;
    }
  }

  /** Fourteen questions, as many yes as no. */
  #questions(scene: Scene, short: number) {
    const r = this.#random;
    const most = r.next() < short ? 2 : 4;
    const all = existenceQuestions(scene, { seed: `exist ${r.word()}`, count: 48 }).filter((q) => Object.keys(q.filter).length <= most);
    return r.shuffle(['yes', 'no'].flatMap((answer) => all.filter((q) => q.answer === answer).slice(0, 7)));
  }

  /**
   * Puts in an image and lets each cell with an object name one of its attributes: the straightest way from what the
   * tower sees to the words of the questions. Without it the decoder answered by guessing for over a million tokens.
   */
  #see(b: RowBuilder, scene: number): RowBuilder {
    b.image(this.#data.features[scene]!);
    this.#data.cells[scene]!.forEach((object, cell) => {
      if (object < 0) return;
      const o = this.#data.scenes[scene]!.objects[object]!;
      b.name(cell, [o.shape, o.shape, o.color, o.size, o.material][this.#random.integer(5)]!, 0.3);
    });
    return b;
  }

  /** A random policy under a random name, and a scene that leads to a leaf chosen first. */
  policyExample(depth: number): { policyText: string; query: string; response: string; answer: string; image: BatchImage; scene: number } {
    const r = this.#random;
    for (;;) {
      const tree = sampleTree({ depth, seed: `pretrain ${r.word()} ${r.word()}` });
      const wanted = r.integer(tree.leaves.length);
      const [first, second] = r.shuffle([...COMPACT_NAME_WORDS]);
      const name = `${first} ${second}`;
      for (let tries = 0; tries < 200; tries++) {
        const i = r.integer(this.#data.scenes.length);
        const { leaf, path } = evaluateTree(tree, this.#data.scenes[i]!);
        if (leaf.index !== wanted) continue;
        const answer = compactAnswer(leaf);
        return { policyText: compactPolicyText(tree, name), query: compactQuery(name), response: compactResponse(compactReasoning(path, leaf), answer), answer, image: this.#data.features[i]!, scene: i };
      }
    }
  }
}

/** Rows of a batch with the gradient of their weighted mean loss. */
export function weightedBatch(model: VisionLanguageModel, rows: readonly RowBuilder[]) {
  const packed = packBatch(model.config, rows.map((r): BatchRow => ({ sequence: r.sequence(), predict: r.weights.map((w) => (w > 0 ? 1 : 0)) })));
  const weights = packed.places.map(({ row, index }) => rows[row]!.weights[index]!);
  const predictors = Array.from(packed.predictors);
  const targets = Array.from(packed.targets);
  const kinds = packed.places.map(({ row }) => row);
  let first = 0;
  for (const row of rows) {
    for (const { token, id, weight } of row.named) {
      predictors.push(first + token);
      targets.push(id);
      weights.push(weight);
      kinds.push(-1);
    }
    first += row.ids.length;
  }
  const total = weights.reduce((a, b) => a + b, 0);
  const batch = { ...packed, predictors: Int32Array.from(predictors), targets: Int32Array.from(targets) };
  return { batch, weights, dLogp: weights.map((w) => -w / total), rowOf: kinds };
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

/** Trains the text tower on features of a frozen vision tower: repeated sequences, lookup drills, then the mix. */
export class TextPretrainer {
  readonly #model: VisionLanguageModel;
  readonly #options: TextTraining;
  readonly #rows: PretrainingRows;
  readonly #random: PhiloxStream;
  #state: Omit<TextState, 'streams'> = { phase: 'repeat', step: 0, tokens: 0, phaseTokens: 0, average: 5 };

  constructor(model: VisionLanguageModel, codec: WordCodec, data: PretrainingScenes, options: TextTraining) {
    this.#model = model;
    this.#options = options;
    this.#rows = new PretrainingRows(model, codec, data, options.seed);
    this.#random = new PhiloxStream(options.seed, 0x3141);
    model.setTrainable('text');
  }

  state(): TextState {
    return { ...this.#state, streams: [this.#random.position, ...this.#rows.position] };
  }

  restore({ streams: [random, ...rows], ...state }: TextState): void {
    this.#state = state;
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

    const chosen: { kind: Kind; row: RowBuilder }[] = [];
    for (let n = 0; n < batchTokens; ) {
      const [kind, depth, short] = this.#pick(phase, done);
      const row = this.#rows.row(kind, depth, short);
      chosen.push({ kind, row });
      n += row.ids.length;
    }
    const { batch, weights, dLogp, rowOf } = weightedBatch(this.#model, chosen.map((c) => c.row));
    const { logp } = await this.#model.accumulate(batch, dLogp);
    await this.#model.step({ learningRate: rate, beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0.05, maxNorm: 1, step, gradScale: 1 });
    const sums = new Map<string, [number, number]>();
    rowOf.forEach((row, i) => {
      if (weights[i]! < 0.2) return;
      const kind = row < 0 ? 'name' : chosen[row]!.kind;
      const s = sums.get(kind) ?? [0, 0];
      sums.set(kind, [s[0] - logp[i]!, s[1] + 1]);
    });
    const losses = Object.fromEntries([...sums].map(([k, [a, n]]) => [k, a / n]));
    const tokens = this.#state.tokens + batch.tokens;
    this.#state = { ...this.#state, step, tokens, average: 0.9 * this.#state.average + 0.1 * (losses[phase] ?? 3) };
    return { phase, step, tokens, losses };
  }

  get #mixTokens(): number {
    return this.#options.mix.reduce((n, p) => n + p.tokens, 0);
  }

  #pick(phase: StepInfo['phase'], done: number): readonly [Kind, number, number?] {
    const random = this.#random;
    if (phase === 'repeat') return ['repeat', 1];
    if (phase === 'drill') return random.next() < 0.15 ? ['repeat', 1] : ['drill', 1 + random.integer(3)];
    const { mix } = this.#options;
    let end = 0;
    const { drill, exist, short, caption, depths } = mix.find((p) => done < (end += p.tokens)) ?? mix[mix.length - 1]!;
    const u = random.next();
    if (u < drill) return ['drill', 1 + random.integer(3)];
    if (u < drill + exist) return ['exist', 1, short];
    if (u < drill + exist + caption) return ['caption', 1];
    let v = random.next() * depths.reduce((a, w) => a + w, 0);
    return ['policy', 1 + depths.findIndex((w, i) => (v -= w) < 0 || i === depths.length - 1)];
  }
}

/** How well a base reads: near-miss existence questions, and new policies in context by depth (greedy), on scenes given. */
export async function measureBase(model: VisionLanguageModel, codec: WordCodec, data: PretrainingScenes, options: { readonly depths: readonly number[]; readonly perDepth: number; readonly seed: number }): Promise<Record<string, number>> {
  const out: Record<string, number> = {};
  const [yes, no] = ['yes', 'no'].map((w) => codec.encode(w)[0]!) as [number, number];
  let right = 0;
  let asked = 0;
  for (let i = 0; i < data.scenes.length; i += 16) {
    const rows: RowBuilder[] = [];
    const answers: number[] = [];
    for (let s = i; s < Math.min(i + 16, data.scenes.length); s++) {
      for (const q of existenceQuestions(data.scenes[s]!, { seed: `measure ${options.seed} ${s}`, count: 4 })) {
        for (const id of [yes, no]) rows.push(new RowBuilder(model.config, codec).image(data.features[s]!).text(q.question).tokens([id], 1));
        answers.push(q.answer === 'yes' ? yes : no);
      }
    }
    const { batch } = weightedBatch(model, rows);
    const { logp } = await model.score(batch);
    answers.forEach((a, k) => {
      asked++;
      if ((logp[2 * k]! > logp[2 * k + 1]!) === (a === yes)) right++;
    });
  }
  out['exist'] = right / asked;
  for (const depth of options.depths) {
    const source = new PretrainingRows(model, codec, data, options.seed + depth);
    let hits = 0;
    for (let done = 0; done < options.perDepth; done += 64) {
      const items = Array.from({ length: Math.min(64, options.perDepth - done) }, () => source.policyExample(depth));
      const prompts = items.map((e) => new RowBuilder(model.config, codec).text(e.policyText).image(e.image).text(e.query).sequence());
      const completions = await generate(model, prompts, { temperature: 0, maxNewTokens: 10 * depth + 16, stopIds: [model.config.eosTokenId!], seed: 0 });
      completions.forEach((c, k) => {
        if (codec.decode(c.tokens).endsWith(`\\boxed{ ${items[k]!.answer} }`)) hits++;
      });
    }
    out[`inContext N=${depth}`] = hits / options.perDepth;
  }
  return out;
}
