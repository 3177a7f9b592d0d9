/** @file Rows of text that a base is trained on: repeated sequences, drills, questions, captions, and policies in context. */
import { captionScene, chooseShown, COMPACT_NAME_WORDS, compactAnswer, compactPolicyText, compactQuery, compactReasoning, compactResponse, existenceQuestions, leafPaths, lookupDrill, type ObjectType, randomStream, sampleTree, type Scene } from '@trimpi/datasets';
import { type BatchImage, type BatchRow, packBatch, type VisionLanguageModel } from '@trimpi/model';
import { PhiloxStream } from '@trimpi/runtime';
import { SceneIndex } from './scene-index.ts';
import { TINY_BASE_SCENES } from './scenes.ts';
import { RowBuilder, type WordCodec } from './words.ts';

export interface PretrainingScenes {
  readonly scenes: readonly Scene[];
  /** For each scene, the object in each cell, or -1. */
  readonly cells: readonly Int16Array[];
  readonly features: readonly BatchImage[];
  /** Crops that policies show values by. */
  readonly crops?: { readonly types: readonly ObjectType[]; readonly features: readonly BatchImage[] };
}

export type RowKind = 'repeat' | 'drill' | 'exist' | 'caption' | 'policy' | 'shown';

/** A policy in context with a question about a scene. */
export interface ContextExample {
  /** `<image>` stands for each of `policyImages`. */
  readonly policyText: string;
  readonly policyImages: readonly BatchImage[];
  readonly query: string;
  readonly response: string;
  readonly answer: string;
  /** Index of the scene. */
  readonly scene: number;
}

/** Makes rows of every kind; a function of the seed and of how many were made. */
export class PretrainingRows {
  readonly #random: PhiloxStream;
  readonly #model: VisionLanguageModel;
  readonly #codec: WordCodec;
  readonly #data: PretrainingScenes;
  readonly #index: SceneIndex;
  readonly #words: readonly string[];
  /** Crops by the words of the object. */
  readonly #crops = new Map<string, BatchImage[]>();
  #made = 0;

  /** @param words those that repeated sequences are drawn from. */
  constructor(model: VisionLanguageModel, codec: WordCodec, data: PretrainingScenes, seed: number, words: readonly string[]) {
    this.#model = model;
    this.#codec = codec;
    this.#data = data;
    this.#index = new SceneIndex(data.scenes);
    this.#words = words;
    this.#random = new PhiloxStream(seed, 0x7e87);
    data.crops?.types.forEach((type, i) => {
      const key = kindOf(type);
      this.#crops.set(key, [...(this.#crops.get(key) ?? []), data.crops!.features[i]!]);
    });
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
  row(kind: RowKind, depth: number, short = 0.8): RowBuilder {
    const b = new RowBuilder(this.#model.config, this.#codec);
    const r = this.#random;
    const index = this.#made++;
    switch (kind) {
      case 'repeat': {
        const words = this.#codec.encode(Array.from({ length: 6 + r.integer(20) }, () => this.#words[r.integer(this.#words.length)]).join(' '));
        return b.tokens(words).tokens(words.slice(0, 1)).tokens(words.slice(1), 1);
      }
      case 'drill': {
        const { policyText, pairs } = lookupDrill({ depth, seed: `drill ${r.word()}`, index });
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
      case 'policy':
      case 'shown': {
        const e = this.policyExample(depth, kind === 'shown');
        // The policy is random: all of it together weighs a fifth of the response, and a word of it a tenth of one there.
        const response = this.#codec.encode(e.response);
        const policy = this.#codec.encode(e.policyText.replaceAll('<image>', ''));
        return this.#see(b.interleaved(e.policyText, e.policyImages, Math.min(0.1, (0.2 * response.length) / policy.length)), e.scene).text(e.query).tokens(response, 1).end(1);
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

  /** A random policy under a random name, and a scene that leads to a leaf chosen first; `shown`: some values by pictures. */
  policyExample(depth: number, shown = false): ContextExample {
    const r = this.#random;
    for (;;) {
      const key = `pretrain ${r.word()} ${r.word()}`;
      const tree = sampleTree({ depth, seed: key });
      const [first, second] = r.shuffle([...COMPACT_NAME_WORDS]);
      const name = `${first} ${second}`;
      const paths = leafPaths(tree);
      for (const leaf of r.shuffle([...tree.leaves])) {
        const path = paths[leaf.index]!;
        const scene = this.#index.pick(path, r);
        if (scene === undefined) continue;
        const pictures = shown ? chooseShown(tree, randomStream(key, 'shown')) : [];
        const policyImages = pictures.map(({ type }) => {
          const crops = this.#crops.get(kindOf(type));
          if (crops === undefined) throw new Error(`no crop of a ${kindOf(type)}`);
          return crops[r.integer(crops.length)]!;
        });
        const answer = compactAnswer(leaf);
        return {
          policyText: compactPolicyText(tree, name, new Set(pictures.map((p) => p.node.id))), policyImages,
          query: compactQuery(name), answer, response: compactResponse(compactReasoning(path, leaf), answer), scene,
        };
      }
    }
  }
}

function kindOf({ size, color, material, shape }: ObjectType): string {
  return `${size} ${color} ${material} ${shape}`;
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
