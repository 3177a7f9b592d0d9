/**
 * @file Sequences packed into one batch without padding between them. What a token may see is written down as key
 * ranges, so several rows, windows, and groups of completions that share their prompt are one batch for the kernels.
 */
import type { Storage, StorageRange } from '@trimpi/runtime';
import { requireLength } from '../checks.ts';
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import type { GridThw } from '../rope-index.ts';
import { visionWindows } from '../windows.ts';
import { patchLength } from './parameters.ts';

/** An image as the processor prepares it. */
export interface PixelImage {
  readonly gridThw: GridThw;
  readonly pixelValues: Float32Array;
}

/**
 * An image (or a video) of a batch: its patches, or the features that the vision tower made of them before: [cells, text
 * width], and with DeepStack as much again for each of its levels behind it.
 */
export type BatchImage =
  | PixelImage
  | { readonly gridThw: GridThw; readonly features: Float32Array | StoredFeatures };

/** Features that are in storage of the engine, from element `offset` on, and never come to the host. */
export interface StoredFeatures {
  readonly storage: Storage;
  readonly offset: number;
}

/** A prompt or a whole row: tokens, their positions, and the images of its image tokens in order. */
export interface TokenSequence {
  readonly inputIds: ArrayLike<number>;
  /** [3, L]. */
  readonly positionIds: ArrayLike<number>;
  readonly images: readonly BatchImage[];
}

/** A row of a batch. */
export interface BatchRow {
  readonly sequence: TokenSequence;
  /** Completions that continue the sequence, each seeing the sequence and itself, not its siblings. */
  readonly completions?: readonly ArrayLike<number>[];
  /**
   * Which tokens of the sequence are predicted (0 or 1 by token; the first cannot be). Without it none is when there are
   * completions, else all. Every token of a completion is.
   */
  readonly predict?: ArrayLike<number>;
}

/** Where a predicted token stands: row, completion (-1: the sequence itself) and index in it. */
export interface TargetPlace {
  readonly row: number;
  readonly completion: number;
  readonly index: number;
}

/** Everything the graph of a batch takes, before padding to the shape of a plan. T tokens, R predicted tokens, F cells, P patches. */
export interface PackedBatch {
  readonly tokens: number;
  readonly ids: Int32Array;
  readonly positions: Int32Array;
  readonly queryRanges: Uint32Array;
  readonly keyRanges: Uint32Array;
  /** For each token the row of its feature (in the order in which the tower puts them out), or -1. */
  readonly source: Int32Array;
  /** For each predicted token, the token whose hidden state predicts it. */
  readonly predictors: Int32Array;
  readonly targets: Int32Array;
  readonly places: readonly TargetPlace[];
  readonly vision: PackedVision | undefined;
}

export interface PackedVision {
  readonly grids: readonly GridThw[];
  readonly patches: number;
  readonly cells: number;
  /** [P, patch length] in window order; empty when features are given. */
  readonly pixelValues: Float32Array;
  /** [F, hidden] in raster order when features are given, one for the embedding and one for each level of DeepStack. */
  readonly features: readonly (Float32Array | readonly StorageRange[])[] | undefined;
  /** The four entries of a learned position table around each patch, [4 P], and their weights. */
  readonly corners: { readonly ids: Int32Array; readonly weights: Float32Array } | undefined;
  /** [2, P] row and column of each patch. */
  readonly positions: Int32Array;
  readonly windowRanges: Uint32Array;
  readonly frameRanges: Uint32Array;
}

export interface PackOptions {
  /** How many tokens (with their images) all sequences begin with alike; they are laid down, and read, once. See `sharedPrefix`. */
  readonly prefix?: number;
}

/**
 * Lays rows out one behind the other. Throws `invalid-input` for tokens outside of the vocabulary, positions that are not
 * [3, L] whole numbers from 0, a `predict` of another length, and image tokens without images or the other way round.
 */
export function packBatch(config: ModelConfig, rows: readonly BatchRow[], { prefix = 0 }: PackOptions = {}): PackedBatch {
  if (rows.length === 0) throw new ModelError('invalid-input', { argument: 'rows', value: 0, message: 'is empty', remedy: 'Give at least one row.' });
  rows.forEach(({ sequence, predict, completions }, r) => {
    checkSequence(config, sequence, `rows[${r}].sequence`);
    if (predict !== undefined) requireLength(`rows[${r}].predict`, predict, sequence.inputIds.length, 'Give 0 or 1 for every token of the sequence.');
    completions?.forEach((completion, c) => checkIds(config, completion, `rows[${r}].completions[${c}]`));
  });
  const ids: number[] = [];
  const positions: [number[], number[], number[]] = [[], [], []];
  const queryRanges: number[] = [];
  const keyRanges: number[] = [];
  const cellOfToken: number[] = [];
  const predictors: number[] = [];
  const targets: number[] = [];
  const places: TargetPlace[] = [];
  const images: BatchImage[] = [];
  const isVisual = (id: number | undefined) => id === config.imageTokenId || id === config.videoTokenId;
  let cells = 0;
  let nextCell = 0;
  const takeImages = (own: readonly BatchImage[]) => {
    for (const image of own) {
      images.push(image);
      cells += cellsOf(config, image.gridThw);
    }
  };
  // A completion may hold an image token that the model made up: it is text, as it was when it was sampled.
  const push = (id: number, at: readonly [number, number, number], ranges: readonly number[], keys: readonly [number, number], sampled = false) => {
    ids.push(id);
    for (let axis = 0; axis < 3; axis++) positions[axis]!.push(at[axis]!);
    queryRanges.push(...ranges);
    keyRanges.push(...keys);
    cellOfToken.push(isVisual(id) && !sampled ? nextCell++ : -1);
  };

  // Every later token sees the prefix, so its keys are read up to the end of the batch, which is known only then.
  const prefixImages = imagesIn(config, rows[0]!.sequence, prefix);
  takeImages(rows[0]!.sequence.images.slice(0, prefixImages));
  for (let i = 0; i < prefix; i++) push(rows[0]!.sequence.inputIds[i]!, positionOf(rows[0]!.sequence, i), [0, i + 1, 0, 0, 0, 0], [i, 0]);

  rows.forEach((row, r) => {
    const { sequence } = row;
    const n = sequence.inputIds.length;
    const completions = row.completions ?? [];
    if (n === 0) throw new ModelError('invalid-input', { argument: `rows[${r}].sequence.inputIds`, value: 0, message: 'is empty', remedy: 'A row needs at least one token.' });
    // With completions the last token of the prompt opens every one of them, so it does not belong to the shared part.
    const shared = completions.length > 0 ? n - 1 : n;
    if (prefix > shared) throw new ModelError('invalid-input', { argument: 'prefix', value: prefix, message: `is longer than row ${r}`, remedy: 'Compute it with sharedPrefix.' });
    // Token i of the row stands at offset + i of the batch, but for the prefix.
    const start = ids.length;
    const offset = start - prefix;
    const end = offset + shared + completions.reduce((s, c) => s + c.length, 0);
    const seen = prefix > 0 ? [0, prefix] : [];
    const padded = (ranges: readonly number[]) => [...ranges, 0, 0, 0, 0].slice(0, 6);
    const cellsBefore = cells;
    takeImages(sequence.images.slice(prefixImages));
    for (let i = 0; i < shared; i++) {
      if (i >= prefix) push(sequence.inputIds[i]!, positionOf(sequence, i), padded([...seen, start, offset + i + 1]), [offset + i, end]);
      const wanted = (i >= prefix || r === 0) && (row.predict === undefined ? completions.length === 0 : (row.predict[i] ?? 0) !== 0);
      if (i > 0 && wanted) {
        predictors.push(i - 1 < prefix ? i - 1 : offset + i - 1);
        targets.push(sequence.inputIds[i]!);
        places.push({ row: r, completion: -1, index: i });
      }
    }
    if (completions.length > 0) {
      if (isVisual(sequence.inputIds[n - 1])) {
        throw new ModelError('invalid-input', { argument: `rows[${r}].sequence`, value: n, message: 'ends with an image', remedy: 'End a prompt with text (the opening of the answer).' });
      }
      const last = positionOf(sequence, n - 1);
      const next = Math.max(...last) + 1;
      completions.forEach((completion, c) => {
        const begin = ids.length;
        for (let i = 0; i < completion.length; i++) {
          const at = next + i - 1;
          // Token i of this run predicts completion[i]; the first is the prompt's last token, the last one is not fed in.
          push(i === 0 ? sequence.inputIds[n - 1]! : completion[i - 1]!, i === 0 ? last : [at, at, at], padded([...seen, start, offset + shared, begin, begin + i + 1]), [begin + i, begin + completion.length], true);
          predictors.push(begin + i);
          targets.push(completion[i]!);
          places.push({ row: r, completion: c, index: i });
        }
      });
    }
    if (nextCell !== cells) {
      throw new ModelError('invalid-input', {
        argument: `rows[${r}].sequence`,
        value: nextCell - cellsBefore,
        message: `has that many image tokens for ${cells - cellsBefore} cells of ${sequence.images.length - prefixImages} images`,
        remedy: 'Encode prompt and images with one processor.',
      });
    }
  });
  for (let i = 0; i < prefix; i++) keyRanges[2 * i + 1] = ids.length;

  const vision = cells === 0 ? undefined : packVision(config, images);
  const rowOfCell = vision?.rowOfCell;
  return {
    tokens: ids.length,
    ids: Int32Array.from(ids),
    positions: Int32Array.from(positions.flat()),
    queryRanges: Uint32Array.from(queryRanges),
    keyRanges: Uint32Array.from(keyRanges),
    source: Int32Array.from(cellOfToken, (cell) => (cell < 0 ? -1 : rowOfCell![cell]!)),
    predictors: Int32Array.from(predictors),
    targets: Int32Array.from(targets),
    places,
    vision: vision?.packed,
  };
}

/** Throws `invalid-input` for tokens and positions that a device would take for others without a word: it clamps them. */
export function checkSequence(config: ModelConfig, { inputIds, positionIds }: TokenSequence, where: string): void {
  checkIds(config, inputIds, `${where}.inputIds`);
  const n = inputIds.length;
  const bad = (value: unknown, message: string): never => {
    throw new ModelError('invalid-input', { argument: `${where}.positionIds`, value, message, remedy: 'Use the positions of the processor or of getRopeIndex.' });
  };
  if (positionIds.length !== 3 * n) bad(positionIds.length, `should have ${3 * n} entries, [3, ${n}]`);
  for (let i = 0; i < positionIds.length; i++) {
    const at = positionIds[i]!;
    if (!Number.isInteger(at) || at < 0) bad(at, `has an entry, ${i}, that is no whole number from 0`);
  }
}

function checkIds({ vocabSize }: ModelConfig, ids: ArrayLike<number>, argument: string): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) throw new ModelError('invalid-input', { argument: `${argument}[${i}]`, value: id, message: `is no token of the ${vocabSize} of this model`, remedy: 'Encode the text with the tokenizer of this model.' });
  }
}

function positionOf({ inputIds, positionIds }: TokenSequence, i: number): [number, number, number] {
  const n = inputIds.length;
  return [positionIds[i]!, positionIds[n + i]!, positionIds[2 * n + i]!];
}

/** How many images the first `length` tokens of a sequence hold. */
function imagesIn(config: ModelConfig, sequence: TokenSequence, length: number): number {
  let tokens = 0;
  for (let i = 0; i < length; i++) if (sequence.inputIds[i] === config.imageTokenId || sequence.inputIds[i] === config.videoTokenId) tokens++;
  let images = 0;
  while (tokens > 0) tokens -= cellsOf(config, sequence.images[images++]!.gridThw);
  return images;
}

/**
 * The longest common beginning of sequences: tokens, positions and images (the same objects) alike, at least one token
 * short of each, and not ending inside an image. Reading it once gives the same as reading it for every sequence.
 */
export function sharedPrefix(config: ModelConfig, sequences: readonly TokenSequence[]): number {
  const [first, ...rest] = sequences;
  if (first === undefined || rest.length === 0) return 0;
  const common = Math.min(...sequences.map((s) => s.inputIds.length)) - 1;
  let end = 0;
  let image = 0;
  let cellsLeft = 0;
  for (let i = 0; i < common; i++) {
    const at = positionOf(first, i);
    const opens = cellsLeft === 0 && (first.inputIds[i] === config.imageTokenId || first.inputIds[i] === config.videoTokenId);
    const same = rest.every((s) => s.inputIds[i] === first.inputIds[i] && positionOf(s, i).every((p, axis) => p === at[axis]) && (!opens || (s.images[image] === first.images[image] && first.images[image] !== undefined)));
    if (!same) break;
    if (opens) cellsLeft = cellsOf(config, first.images[image++]!.gridThw);
    if (cellsLeft > 0) cellsLeft--;
    if (cellsLeft === 0) end = i + 1;
  }
  return end;
}

/** Tokens that an image takes. */
export function cellsOf(config: ModelConfig, [t, h, w]: GridThw): number {
  return (t * h * w) / config.vision.spatialMergeSize ** 2;
}

/** Patches in window order with the ranges of both kinds of attention; and for each cell, the row the tower puts it out at. */
export function packVision(config: ModelConfig, images: readonly BatchImage[]): { packed: PackedVision; rowOfCell: Int32Array } {
  const merge = config.vision.spatialMergeSize ** 2;
  const ready = images.filter((i) => 'features' in i).length;
  if (ready !== 0 && ready !== images.length) {
    throw new ModelError('invalid-input', { argument: 'images', value: ready, message: 'mixes patches and features in one batch', remedy: 'Encode all images of a batch first, or none.' });
  }
  const grids = images.map((i) => i.gridThw);
  const windows = visionWindows(grids, config.vision);
  const cells = windows.windowIndex.length;
  const patches = cells * merge;
  if (ready > 0) {
    return {
      packed: { grids, patches: 0, cells, pixelValues: new Float32Array(0), features: packFeatures(config, images as readonly EncodedImage[]), corners: undefined, positions: new Int32Array(0), windowRanges: new Uint32Array(0), frameRanges: new Uint32Array(0) },
      rowOfCell: Int32Array.from({ length: cells }, (_, i) => i),
    };
  }
  const length = patchLength(config);
  const raw = new Float32Array(patches * length);
  let at = 0;
  images.forEach((image, i) => {
    const own = (image as PixelImage).pixelValues;
    if (own.length !== cellsOf(config, image.gridThw) * merge * length) {
      throw new ModelError('invalid-input', { argument: `images[${i}].pixelValues`, value: own.length, message: `should hold ${image.gridThw.join(' x ')} patches of ${length}`, remedy: 'Preprocess the image for this model.' });
    }
    raw.set(own, at);
    at += own.length;
  });
  const pixelValues = new Float32Array(patches * length);
  const positions = new Int32Array(2 * patches);
  const rowOfCell = new Int32Array(cells);
  windows.windowIndex.forEach((cell, row) => {
    rowOfCell[cell] = row;
    pixelValues.set(raw.subarray(cell * merge * length, (cell + 1) * merge * length), row * merge * length);
    for (let i = 0; i < merge; i++) {
      positions[row * merge + i] = windows.positionsHw[2 * (cell * merge + i)]!;
      positions[patches + row * merge + i] = windows.positionsHw[2 * (cell * merge + i) + 1]!;
    }
  });
  return {
    packed: { grids, patches, cells, pixelValues, features: undefined, corners: positionCorners(config, images, positions), positions, windowRanges: segments(windows.cuWindowSeqlens), frameRanges: segments(windows.cuSeqlens) },
    rowOfCell,
  };
}

type EncodedImage = Extract<BatchImage, { readonly features: unknown }>;

/** Each level of the features of all images, [cells, width] one behind the other: numbers, or where they are in storage. */
export function packFeatures(config: ModelConfig, images: readonly EncodedImage[]): (Float32Array | StorageRange[])[] {
  const width = config.vision.outHiddenSize;
  const levels = 1 + config.vision.deepstackVisualIndexes.length;
  const sizes = images.map((image) => cellsOf(config, image.gridThw) * width);
  const refuse = (value: unknown, message: string, remedy: string): never => {
    throw new ModelError('invalid-input', { argument: 'images.features', value, message, remedy });
  };
  const hosts = images.flatMap(({ features }) => (features instanceof Float32Array ? [features] : []));
  if (hosts.length === 0) {
    const stored = images.map(({ features }) => features as StoredFeatures);
    stored.forEach(({ storage, offset }, i) => {
      if (!(Number.isInteger(offset) && offset >= 0) || offset + sizes[i]! * levels > storage.length) refuse(offset, `leaves no room for ${sizes[i]! * levels} elements in the storage of ${storage.length}`, 'Use the images that encodeInto or storedImages gives.');
    });
    return Array.from({ length: levels }, (_, k) => stored.map(({ storage, offset }, i) => ({ storage, offset: offset + k * sizes[i]!, length: sizes[i]! })));
  }
  if (hosts.length < images.length) refuse(hosts.length, 'are of the host and in storage in one batch', 'Keep all features of a batch in one place.');
  const out = Array.from({ length: levels }, () => new Float32Array(sizes.reduce((a, b) => a + b, 0)));
  let at = 0;
  hosts.forEach((own, i) => {
    const size = sizes[i]!;
    if (own.length !== size * levels) refuse(own.length, `should hold ${size / width} cells of ${width}, ${levels} times`, 'Use features of this model and grid.');
    out.forEach((level, k) => level.set(own.subarray(k * size, (k + 1) * size), at));
    at += size;
  });
  return out;
}

/** Elements that features of images take in storage. */
export function featureLength(config: ModelConfig, grids: readonly GridThw[]): number {
  return grids.reduce((n, grid) => n + cellsOf(config, grid), 0) * config.vision.outHiddenSize * (1 + config.vision.deepstackVisualIndexes.length);
}

/** Images whose features lie in storage one behind the other (each: all cells, then those of each level of DeepStack). */
export function storedImages(config: ModelConfig, grids: readonly GridThw[], storage: Storage, offset = 0): (EncodedImage & { readonly features: StoredFeatures })[] {
  let at = offset;
  return grids.map((gridThw) => {
    const features = { storage, offset: at };
    at += featureLength(config, [gridThw]);
    return { gridThw, features };
  });
}

/**
 * Where each patch lies between the entries of a learned square table: its rows and columns are spread evenly from the
 * first entry to the last (Qwen3-VL; bilinear, corners aligned). `positions` [2, P] in the order of the tower.
 */
function positionCorners(config: ModelConfig, images: readonly BatchImage[], positions: Int32Array): PackedVision['corners'] {
  const side = Math.sqrt(config.vision.numPositionEmbeddings);
  if (side === 0) return undefined;
  const patches = positions.length / 2;
  const ids = new Int32Array(4 * patches);
  const weights = new Float32Array(4 * patches);
  const between = (index: number, count: number): [number, number, number] => {
    const at = count > 1 ? (index * (side - 1)) / (count - 1) : 0;
    const low = Math.min(Math.floor(at), side - 1);
    return [low, Math.min(low + 1, side - 1), at - low];
  };
  let patch = 0;
  for (const { gridThw: [t, h, w] } of images) {
    for (let end = patch + t * h * w; patch < end; patch++) {
      const [top, bottom, dy] = between(positions[patch]!, h);
      const [left, right, dx] = between(positions[patches + patch]!, w);
      ids.set([top * side + left, top * side + right, bottom * side + left, bottom * side + right], 4 * patch);
      weights.set([(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx], 4 * patch);
    }
  }
  return { ids, weights };
}

/** [n, 2]: the segment of each row, from the places where segments begin. */
function segments(cu: Int32Array): Uint32Array {
  const out = new Uint32Array(2 * cu[cu.length - 1]!);
  for (let s = 0; s + 1 < cu.length; s++) {
    for (let i = cu[s]!; i < cu[s + 1]!; i++) {
      out[2 * i] = cu[s]!;
      out[2 * i + 1] = cu[s + 1]!;
    }
  }
  return out;
}
