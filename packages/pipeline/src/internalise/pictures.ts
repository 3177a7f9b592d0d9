/**
 * @file Pictures as a model takes them. Features made once by the frozen vision tower, or patches where the tower is
 * trained, are kept as long as all of them fit; of more, the patches are made anew when a batch asks for them.
 */
import type { RgbImage } from '@trimpi/datasets';
import { type BatchImage, type GridThw, preprocessImage, type Processor, type VisionLanguageModel } from '@trimpi/model';

export interface PicturesOptions {
  /** What is trained changes features, so that every batch runs the tower. */
  readonly trainsVision: boolean;
  /** Most bytes of features or patches that are kept. */
  readonly maxBytes?: number;
  readonly onProgress?: (done: number, of: number) => void;
  /** Called between batches; throws to stop. */
  readonly check?: () => void;
}

/** Most bytes of features or patches that are kept. */
export const KEPT_BYTES = 2 ** 31;
/** Patches encoded at once. */
const PATCHES = 4096;

export class Pictures {
  readonly #images: ReadonlyMap<RgbImage, BatchImage>;

  private constructor(images: ReadonlyMap<RgbImage, BatchImage>) {
    this.#images = images;
  }

  static async make(model: VisionLanguageModel, processor: Processor, pictures: readonly RgbImage[], { trainsVision, maxBytes = KEPT_BYTES, onProgress, check }: PicturesOptions): Promise<Pictures> {
    const images = new Map<RgbImage, BatchImage>();
    if (!fits(processor, pictures, trainsVision, maxBytes)) {
      const recent = new RecentPatches(processor, maxBytes);
      for (const picture of pictures) images.set(picture, recent.image(picture));
      return new Pictures(images);
    }
    let waiting: { readonly picture: RgbImage; readonly gridThw: GridThw; readonly pixelValues: Float32Array }[] = [];
    const flush = async () => {
      const made: readonly BatchImage[] = trainsVision ? waiting.map(({ gridThw, pixelValues }) => ({ gridThw, pixelValues })) : await model.encodeImages(waiting);
      waiting.forEach(({ picture }, i) => images.set(picture, made[i]!));
      waiting = [];
      onProgress?.(images.size, pictures.length);
      check?.();
    };
    for (const picture of pictures) {
      waiting.push({ picture, ...patchesOf(processor, picture) });
      if (waiting.reduce((n, { gridThw }) => n + size(gridThw), 0) >= PATCHES) await flush();
    }
    if (waiting.length > 0) await flush();
    return new Pictures(images);
  }

  /** Rows and images are compared by identity: a picture is the same object every time. */
  image(picture: RgbImage): BatchImage {
    return this.#images.get(picture)!;
  }
}

/** Whether features (or patches) of all pictures can be kept. */
export function fits(processor: Processor, pictures: readonly RgbImage[], trainsVision: boolean, maxBytes: number): boolean {
  const { vision } = processor.config;
  const patches = pictures.reduce((n, picture) => n + size(processor.gridOf(picture)), 0);
  const perPatch = trainsVision ? vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2 : (vision.outHiddenSize * (1 + vision.deepstackVisualIndexes.length)) / vision.spatialMergeSize ** 2;
  return 4 * patches * perPatch <= maxBytes;
}

/** Patches that are made when they are asked for; those asked for last are kept. */
class RecentPatches {
  readonly #processor: Processor;
  readonly #maxBytes: number;
  readonly #kept = new Map<RgbImage, Float32Array>();
  #bytes = 0;

  constructor(processor: Processor, maxBytes: number) {
    this.#processor = processor;
    this.#maxBytes = maxBytes;
  }

  image(picture: RgbImage): BatchImage {
    const patches = () => this.#patches(picture);
    return {
      gridThw: this.#processor.gridOf(picture),
      get pixelValues() {
        return patches();
      },
    };
  }

  #patches(picture: RgbImage): Float32Array {
    const known = this.#kept.get(picture);
    const patches = known ?? patchesOf(this.#processor, picture).pixelValues;
    // Last in the order of the map: the oldest go first.
    this.#kept.delete(picture);
    this.#kept.set(picture, patches);
    if (known === undefined) this.#bytes += patches.byteLength;
    for (const [oldest, { byteLength }] of this.#kept) {
      if (this.#bytes <= this.#maxBytes || oldest === picture) break;
      this.#kept.delete(oldest);
      this.#bytes -= byteLength;
    }
    return patches;
  }
}

function patchesOf(processor: Processor, picture: RgbImage): { readonly gridThw: GridThw; readonly pixelValues: Float32Array } {
  return preprocessImage({ width: picture.width, height: picture.height, data: picture.rgb }, processor.preprocessor);
}

function size([t, h, w]: GridThw): number {
  return t * h * w;
}
