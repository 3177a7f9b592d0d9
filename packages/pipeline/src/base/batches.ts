/**
 * @file Batches of a base's text training. Each is a function of the recipe, its phase and its number, so that they can be made
 * by any process, ahead of time, and again after a stop.
 */
import { type BatchImage, type BatchRow, type ModelConfig, packBatch, type PackedBatch } from '@trimpi/model';
import { PhiloxStream } from '@trimpi/runtime';
import { type KnownImages, PretrainingRows, type RowImages, type RowKind } from './rows.ts';
import type { RowBuilder, WordCodec } from './words.ts';

export type TextPhase = 'repeat' | 'drill' | 'mix';

export interface BatchRecipe {
  readonly seed: number;
  /** Tokens of a step. */
  readonly batchTokens: number;
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
  /** Share of GTAPolicy's questions. Default 0. */
  readonly gta?: number;
  /** Share of drills of GTAPolicy's rules: many decisions about one user, without images. Default 0. */
  readonly rules?: number;
}

/** A batch without the features of its images. */
export interface TextBatch {
  readonly packed: PackedBatch;
  /** What to put in the places of images, in order: scene i, or (-1 - i) crop i. */
  readonly images: readonly number[];
  /** Of each predicted token: its weight in the loss, and the kind of its row (`name`: a cell that names its object). */
  readonly weights: Float32Array;
  readonly kinds: readonly (RowKind | 'name')[];
}

/** Makes batch `index` of a phase. */
export type TextBatchSource = (phase: TextPhase, index: number) => Promise<TextBatch>;

const NO_STORAGE = { length: Infinity } as never;

/** Makes batches in this thread. */
export class TextBatchMaker {
  readonly #config: ModelConfig;
  readonly #recipe: BatchRecipe;
  readonly #rows: PretrainingRows;
  readonly #taken = new WeakMap<BatchImage, number>();

  constructor(config: ModelConfig, codec: WordCodec, known: KnownImages, recipe: BatchRecipe, words: readonly string[]) {
    this.#config = config;
    this.#recipe = recipe;
    const place = (index: number, grid: readonly [number, number, number]): BatchImage => {
      const image = { gridThw: grid, features: { storage: NO_STORAGE, offset: 0 } };
      this.#taken.set(image, index);
      return image;
    };
    const merge = config.vision.spatialMergeSize;
    const cells = known.scenes[0]?.cells.length ?? 0;
    // Scenes are twice as wide as high.
    const rows = Math.sqrt(cells / 2);
    const images: RowImages = { scene: (i) => place(i, [1, rows * merge, 2 * rows * merge]), crop: (i) => place(-1 - i, [1, 2 * merge, 2 * merge]) };
    this.#rows = new PretrainingRows(config, codec, known, images, words);
  }

  batch(phase: TextPhase, index: number): TextBatch {
    const random = new PhiloxStream(this.#recipe.seed, 0x7e870000 + 0x1000000 * ['repeat', 'drill', 'mix'].indexOf(phase) + index);
    const pick = picker(this.#recipe, phase, index);
    const kinds: RowKind[] = [];
    const rows: RowBuilder[] = [];
    for (let n = 0; n < this.#recipe.batchTokens; ) {
      const [kind, depth, short] = pick(random);
      const row = this.#rows.row(kind, random, depth, short);
      kinds.push(kind);
      rows.push(row);
      n += row.ids.length;
    }
    const { batch, weights, rowOf } = weightedBatch(this.#config, rows);
    return {
      packed: { ...batch, places: [], vision: batch.vision === undefined ? undefined : { ...batch.vision, features: undefined } },
      images: rows.flatMap((row) => row.images.map((image) => this.#taken.get(image)!)),
      weights: Float32Array.from(weights), kinds: rowOf.map((row) => (row < 0 ? 'name' : kinds[row]!)),
    };
  }
}

/** Draws the kind of a row, its depth, and the share of short questions. */
function picker({ mix, drillDepth, batchTokens }: BatchRecipe, phase: TextPhase, index: number): (random: PhiloxStream) => readonly [RowKind, number, number?] {
  if (phase === 'repeat') return () => ['repeat', 1];
  if (phase === 'drill') return (random) => (random.next() < 0.15 ? ['repeat', 1] : ['drill', 1 + random.integer(drillDepth)]);
  let end = 0;
  const { drill, exist, short, caption, depths, shown = 0, gta = 0, rules = 0 } = mix.find((p) => index * batchTokens < (end += p.tokens)) ?? mix[mix.length - 1]!;
  const all = depths.reduce((a, w) => a + w, 0);
  return (random) => {
    const u = random.next();
    if (u < drill) return ['drill', 1 + random.integer(drillDepth)];
    if (u < drill + exist) return ['exist', 1, short];
    if (u < drill + exist + caption) return ['caption', 1];
    if (u < drill + exist + caption + gta) return ['gta', 1];
    if (u < drill + exist + caption + gta + rules) return ['rules', 1];
    let v = random.next() * all;
    const depth = 1 + depths.findIndex((w, i) => (v -= w) < 0 || i === depths.length - 1);
    return [shown > 0 && random.next() < shown ? 'shown' : 'policy', depth];
  };
}

/** Rows of a batch with the weights of their predicted tokens, and the row of each (-1: a cell that names its object). */
export function weightedBatch(config: ModelConfig, rows: readonly RowBuilder[]) {
  const packed = packBatch(config, rows.map((r): BatchRow => ({ sequence: r.sequence(), predict: r.weights.map((w) => (w > 0 ? 1 : 0)) })));
  const weights = packed.places.map(({ row, index }) => rows[row]!.weights[index]!);
  const predictors = Array.from(packed.predictors);
  const targets = Array.from(packed.targets);
  const rowOf = packed.places.map(({ row }) => row);
  let first = 0;
  for (const row of rows) {
    for (const { token, id, weight } of row.named) {
      predictors.push(first + token);
      targets.push(id);
      weights.push(weight);
      rowOf.push(-1);
    }
    first += row.ids.length;
  }
  return { batch: { ...packed, predictors: Int32Array.from(predictors), targets: Int32Array.from(targets) }, weights, rowOf };
}
