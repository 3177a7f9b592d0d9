/** @file What a base sees while it is trained: scenes and crops of objects, drawn once, and what the vision tower makes of them. */
import { type ClevrPolicyConfig, compactCrop, COMPACT_CROP_SIDE, OBJECT_TYPES, objectCells, type ObjectType, pretrainScene, type Scene } from '@trimpi/datasets';
import type { ModelConfig } from '@trimpi/model';
import { PhiloxStream } from '@trimpi/runtime';

/** 128 x 96 cut to 128 x 64 (4 x 8 cells of 16 pixels), three to five objects of at least 40 visible pixels. */
export const TINY_BASE_SCENES = {
  width: 128,
  height: 96,
  crop: { x: 0, y: 16, width: 128, height: 64 },
  scene: { minObjects: 3, maxObjects: 5, minPixels: 40 },
} as const satisfies ClevrPolicyConfig;

const { width: WIDTH, height: HEIGHT } = TINY_BASE_SCENES.crop;

/** Scenes `first` .. `first + count - 1` of the stream `pretrain` of a seed. */
export interface SceneRequest {
  readonly seed: number;
  readonly first: number;
  readonly count: number;
}

export interface DrawnScenes {
  readonly scenes: readonly Scene[];
  /** [count, 64, 128, 3]. */
  readonly rgb: Uint8Array;
}

/** Draws scenes; `onProgress` counts those that are done. What it gives after `signal` is not all, and is not to be used. */
export type SceneDrawer = (request: SceneRequest, onProgress?: (done: number) => void, signal?: AbortSignal) => Promise<DrawnScenes>;

/** Draws in this thread, yielding to the event loop. */
export const drawScenes: SceneDrawer = async ({ seed, first, count }, onProgress, signal) => {
  const scenes: Scene[] = [];
  const rgb = new Uint8Array(count * WIDTH * HEIGHT * 3);
  for (let i = 0; i < count && signal?.aborted !== true; i++) {
    const { scene, image } = pretrainScene({ ...TINY_BASE_SCENES, style: 'compact', n: 2, seed }, first + i);
    scenes.push(scene);
    rgb.set(image.rgb, i * WIDTH * HEIGHT * 3);
    if (i % 50 === 49) {
      onProgress?.(i + 1);
      await new Promise((r) => setTimeout(r, 0));
    }
  }
  return { scenes, rgb };
};

/** Images of one size, as bytes, with the object whose centre lies in each of their cells. */
export interface PixelPool {
  readonly size: number;
  readonly width: number;
  readonly height: number;
  /** [height, width, 3]. */
  rgb(index: number): Uint8Array;
  /** In raster order of cells. */
  objects(index: number): readonly (ObjectType | undefined)[];
}

export class ScenePool implements PixelPool {
  readonly width = WIDTH;
  readonly height = HEIGHT;
  readonly scenes: readonly Scene[];
  readonly #config: ModelConfig;
  readonly #rgb: Uint8Array;
  /** For each scene in raster order of cells, the index of the object whose centre lies in it, or -1. */
  readonly cells: readonly Int16Array[];

  constructor(config: ModelConfig, { scenes, rgb }: DrawnScenes) {
    this.#config = config;
    this.scenes = scenes;
    this.#rgb = rgb;
    const cell = config.vision.patchSize * config.vision.spatialMergeSize;
    this.cells = scenes.map((scene) => objectCells(scene, { ...TINY_BASE_SCENES, cell }));
  }

  get size(): number {
    return this.scenes.length;
  }

  /** The first `count` scenes, over the same pixels. */
  first(count: number): ScenePool {
    return count === this.size ? this : new ScenePool(this.#config, { scenes: this.scenes.slice(0, count), rgb: this.#rgb });
  }

  rgb(index: number): Uint8Array {
    return part(this.#rgb, index, this);
  }

  objects(index: number): (ObjectType | undefined)[] {
    const { objects } = this.scenes[index]!;
    return Array.from(this.cells[index]!, (object) => objects[object]);
  }
}

/** Crops of single objects as policies show them; every kind of object equally often. */
export class CropPool implements PixelPool {
  readonly width = COMPACT_CROP_SIDE;
  readonly height = COMPACT_CROP_SIDE;
  readonly types: readonly ObjectType[];
  readonly #rgb: Uint8Array;

  constructor(seed: number, count: number) {
    const random = new PhiloxStream(seed, 0xc409);
    const shuffled = random.shuffle([...OBJECT_TYPES]);
    this.types = Array.from({ length: count }, (_, i) => shuffled[i % shuffled.length]!);
    this.#rgb = new Uint8Array(count * COMPACT_CROP_SIDE ** 2 * 3);
    this.types.forEach((type, i) => this.#rgb.set(compactCrop(type, `pretrain ${seed} ${i}`, TINY_BASE_SCENES).rgb, i * COMPACT_CROP_SIDE ** 2 * 3));
  }

  get size(): number {
    return this.types.length;
  }

  rgb(index: number): Uint8Array {
    return part(this.#rgb, index, this);
  }

  objects(index: number): (ObjectType | undefined)[] {
    return [undefined, undefined, undefined, this.types[index]];
  }
}

function part(rgb: Uint8Array, index: number, { width, height }: PixelPool): Uint8Array {
  return rgb.subarray(index * width * height * 3, (index + 1) * width * height * 3);
}
