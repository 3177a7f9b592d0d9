/** @file Rows of text that a base is trained on: repeated sequences, drills, questions, captions, and policies in context. */
import { captionScene, chooseShown, COMPACT_NAME_WORDS, compactAnswer, compactGtaDrill, compactGtaQuestion, compactPolicyText, compactQuery, compactReasoning, compactResponse, existenceQuestions, leafPaths, lookupDrill, type ObjectType, randomStream, sampleCompactGta, sampleTree } from '@trimpi/datasets';
import type { BatchImage, ModelConfig } from '@trimpi/model';
import type { PhiloxStream } from '@trimpi/runtime';
import { SceneIndex } from './scene-index.ts';
import { type CropPool, type ScenePool, TINY_BASE_SCENES } from './scenes.ts';
import { RowBuilder, type WordCodec } from './words.ts';

/** What rows say of a scene. */
export interface KnownScene {
  readonly objects: readonly ObjectType[];
  /** In raster order of cells, the index of the object in each, or -1. */
  readonly cells: ArrayLike<number>;
  /** Without the word it begins with. */
  readonly caption: string;
}

/** Everything that rows are made of but images; small enough to be sent to other processes. */
export interface KnownImages {
  readonly scenes: readonly KnownScene[];
  /** What the crops show by which policies show values. */
  readonly crops: readonly ObjectType[];
}

export function knownImages(scenes: ScenePool, crops: CropPool | undefined): KnownImages {
  return {
    scenes: scenes.scenes.map((scene, i) => ({
      objects: scene.objects.map(({ size, color, material, shape }) => ({ size, color, material, shape })),
      cells: Array.from(scenes.cells[i]!),
      caption: captionScene(scene, { ...TINY_BASE_SCENES, cell: 16 }).replace(/^caption /, ''),
    })),
    crops: crops?.types ?? [],
  };
}

/** Images as rows take them: with features, or as places for them. */
export interface RowImages {
  scene(index: number): BatchImage;
  crop(index: number): BatchImage;
}

export type RowKind = 'repeat' | 'drill' | 'exist' | 'caption' | 'policy' | 'shown' | 'gta' | 'rules';

/** A policy in context with a question about scenes. */
export interface ContextExample {
  /** `<image>` stands for each of `crops`. */
  readonly policyText: string;
  readonly crops: readonly number[];
  readonly query: string;
  readonly response: string;
  readonly answer: string;
  readonly scenes: readonly number[];
}

/** Makes rows of every kind. */
export class PretrainingRows {
  readonly #config: ModelConfig;
  readonly #codec: WordCodec;
  readonly #known: KnownImages;
  readonly #images: RowImages;
  readonly #index: SceneIndex;
  readonly #words: readonly string[];
  /** Indices of crops by the words of the object. */
  readonly #crops = new Map<string, number[]>();

  /** @param words those that repeated sequences are drawn from. */
  constructor(config: ModelConfig, codec: WordCodec, known: KnownImages, images: RowImages, words: readonly string[]) {
    this.#config = config;
    this.#codec = codec;
    this.#known = known;
    this.#images = images;
    this.#index = new SceneIndex(known.scenes);
    this.#words = words;
    known.crops.forEach((type, i) => {
      const own = this.#crops.get(kindOf(type));
      if (own === undefined) this.#crops.set(kindOf(type), [i]);
      else own.push(i);
    });
  }

  /** A row of a kind; `depth` of policies and drills, `short` as in MixPhase. */
  row(kind: RowKind, r: PhiloxStream, depth: number, short = 0.8): RowBuilder {
    const b = new RowBuilder(this.#config, this.#codec);
    switch (kind) {
      case 'repeat': {
        const words = this.#codec.encode(Array.from({ length: 6 + r.integer(20) }, () => this.#words[r.integer(this.#words.length)]).join(' '));
        return b.tokens(words).tokens(words.slice(0, 1)).tokens(words.slice(1), 1);
      }
      case 'drill': {
        const { policyText, pairs } = lookupDrill({ depth, seed: `drill ${r.word()} ${r.word()}`, index: 0 });
        b.text(policyText);
        for (const { id, content } of pairs) b.text(id).text(content, 1).text(';');
        return b;
      }
      case 'exist': {
        const i = r.integer(this.#known.scenes.length);
        this.#see(b, r, i);
        for (const q of this.#questions(this.#known.scenes[i]!, r, short)) b.text(q.question).text(q.answer, 1);
        return b;
      }
      case 'caption': {
        const i = r.integer(this.#known.scenes.length);
        return this.#see(b, r, i).text('caption').text(this.#known.scenes[i]!.caption, 0.3).end(0.3);
      }
      case 'rules': {
        const policy = sampleCompactGta({ seed: `pretrain ${r.word()} ${r.word()}`, tools: [1, 1, 2, 2, 3, 5, 7][r.integer(7)]!, depth: 1 + r.integer(4), images: r.next() < 0.5 });
        const { query, decisions } = compactGtaDrill(policy, randomStream('pretrain', r.word(), r.word()));
        b.text(policy.text).text(query);
        // What a node asks stands in the policy; what follows is decided.
        for (const { asked, decided } of decisions) b.text(asked, 0.1).text(decided, 1);
        return b;
      }
      case 'policy':
      case 'shown':
      case 'gta': {
        const e = kind === 'gta' ? this.gtaExample(r) : this.policyExample(r, depth, kind === 'shown');
        // The policy is random: all of it together weighs a fifth of the response, and a word of it a tenth of one there.
        const response = this.#codec.encode(e.response);
        const policy = this.#codec.encode(e.policyText.replaceAll('<image>', ''));
        b.interleaved(e.policyText, e.crops.map((i) => this.#images.crop(i)), Math.min(0.1, (0.2 * response.length) / policy.length));
        for (const scene of e.scenes) this.#see(b, r, scene);
        return b.text(e.query).tokens(response, 1).end(1);
      }
      default:
        return kind satisfies never;
    }
  }

  /** What a model is asked in context: policy, images, query. */
  prompt({ policyText, crops, scenes, query }: ContextExample): RowBuilder {
    const b = new RowBuilder(this.#config, this.#codec).interleaved(policyText, crops.map((i) => this.#images.crop(i)));
    for (const scene of scenes) b.image(this.#images.scene(scene));
    return b.text(query);
  }

  /** Fourteen questions, as many yes as no. */
  #questions(scene: KnownScene, r: PhiloxStream, short: number) {
    const most = r.next() < short ? 2 : 4;
    const all = existenceQuestions(scene, { seed: `exist ${r.word()}`, count: 48 }).filter((q) => Object.keys(q.filter).length <= most);
    return r.shuffle(['yes', 'no'].flatMap((answer) => all.filter((q) => q.answer === answer).slice(0, 7)));
  }

  /**
   * Puts in an image and lets each cell with an object name one of its attributes: the straightest way from what the
   * tower sees to the words of the questions. Without it the decoder answered by guessing for over a million tokens.
   */
  #see(b: RowBuilder, r: PhiloxStream, scene: number): RowBuilder {
    b.image(this.#images.scene(scene));
    const { objects, cells } = this.#known.scenes[scene]!;
    for (let cell = 0; cell < cells.length; cell++) {
      const o = objects[cells[cell]!];
      if (o !== undefined) b.name(cell, [o.shape, o.shape, o.color, o.size, o.material][r.integer(5)]!, 0.3);
    }
    return b;
  }

  /** Random rules of some tools, and a question about one to three scenes. */
  gtaExample(r: PhiloxStream): ContextExample {
    const policy = sampleCompactGta({ seed: `pretrain ${r.word()} ${r.word()}`, tools: 1 + r.integer(7), depth: 1 + r.integer(4) });
    const scenes = Array.from({ length: [1, 1, 2, 2, 3][r.integer(5)]! }, () => r.integer(this.#known.scenes.length));
    const { query, response, answer } = compactGtaQuestion(policy, scenes.map((i) => this.#known.scenes[i]!), randomStream('pretrain', r.word(), r.word()));
    return { policyText: policy.text, crops: [], query, response, answer, scenes };
  }

  /** A random policy under a random name, and a scene that leads to a leaf chosen first; `shown`: some values by pictures. */
  policyExample(r: PhiloxStream, depth: number, shown = false): ContextExample {
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
        const answer = compactAnswer(leaf);
        return {
          policyText: compactPolicyText(tree, name, new Set(pictures.map((p) => p.node.id))), crops: pictures.map(({ type }) => this.#crop(type, r)),
          query: compactQuery(name), answer, response: compactResponse(compactReasoning(path, leaf), answer), scenes: [scene],
        };
      }
    }
  }

  #crop(type: ObjectType, r: PhiloxStream): number {
    const own = this.#crops.get(kindOf(type));
    if (own === undefined) throw new Error(`no crop of a ${kindOf(type)}`);
    return own[r.integer(own.length)]!;
  }
}

function kindOf({ size, color, material, shape }: ObjectType): string {
  return `${size} ${color} ${material} ${shape}`;
}
