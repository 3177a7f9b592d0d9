/** @file The scenes on which the tiny base is trained: a pool drawn once, with what the vision tower makes of it. */
import { type ClevrPolicyConfig, objectCells, pretrainScene, type Scene } from '@trimpi/datasets';
import { type BatchImage, defaultPreprocessorConfig, type ModelConfig, patchify, type VisionLanguageModel } from '@trimpi/model';

/** 128 x 96 cut to 128 x 64 (4 x 8 cells of 16 pixels), three to five objects of at least 40 visible pixels. */
export const TINY_BASE_SCENES = {
  width: 128,
  height: 96,
  crop: { x: 0, y: 16, width: 128, height: 64 },
  scene: { minObjects: 3, maxObjects: 5, minPixels: 40 },
} as const satisfies ClevrPolicyConfig;

export interface PoolScene {
  readonly scene: Scene;
  readonly image: { readonly gridThw: readonly [number, number, number]; readonly pixelValues: Float32Array };
  /** For each cell in raster order, the index of the object whose centre lies in it, or -1. */
  readonly cells: Int16Array;
}

export interface ScenePool {
  readonly size: number;
  /** Pixels are kept as bytes and cut into patches when asked for; `mirrored` flips left and right. */
  get(index: number, mirrored?: boolean): PoolScene;
  readonly scenes: readonly Scene[];
}

/** Draws scenes `first` .. `first + count - 1` of the stream `pretrain`. Yields to the event loop; `onProgress` counts. */
export async function drawScenes(config: ModelConfig, seed: number, first: number, count: number, onProgress?: (done: number) => void): Promise<ScenePool> {
  const { width, height } = TINY_BASE_SCENES.crop;
  const cell = config.vision.patchSize * config.vision.spatialMergeSize;
  const scenes: Scene[] = [];
  const pixels = new Uint8Array(count * width * height * 3);
  for (let i = 0; i < count; i++) {
    const { scene, image } = pretrainScene({ ...TINY_BASE_SCENES, style: 'compact', n: 2, seed }, first + i);
    scenes.push(scene);
    pixels.set(image.rgb, i * width * height * 3);
    if (i % 50 === 49) {
      onProgress?.(i + 1);
      await new Promise((r) => setTimeout(r, 0));
    }
  }
  const preprocessor = defaultPreprocessorConfig(config);
  return {
    size: count,
    scenes,
    get(index, mirrored = false) {
      const rgb = pixels.subarray(index * width * height * 3, (index + 1) * width * height * 3);
      const { pixelValues, gridThw } = patchify(mirrored ? mirror(rgb, width, height) : rgb, width, height, preprocessor);
      const scene = scenes[index]!;
      const cells = objectCells(scene, { ...TINY_BASE_SCENES, cell });
      if (mirrored) {
        const columns = width / cell;
        for (let r = 0; r < cells.length; r += columns) cells.subarray(r, r + columns).reverse();
      }
      return { scene, image: { gridThw: gridThw as [number, number, number], pixelValues }, cells };
    },
  };
}

function mirror(rgb: Uint8Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(rgb.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) out.set(rgb.subarray((y * width + x) * 3, (y * width + x) * 3 + 3), (y * width + width - 1 - x) * 3);
  }
  return out;
}

/** Features of every scene through the tower as it is now. */
export async function encodePool(model: VisionLanguageModel, pool: ScenePool, onProgress?: (done: number) => void): Promise<BatchImage[]> {
  const out: BatchImage[] = [];
  for (let i = 0; i < pool.size; i += 32) {
    out.push(...(await model.encodeImages(Array.from({ length: Math.min(32, pool.size - i) }, (_, j) => pool.get(i + j).image))));
    onProgress?.(out.length);
  }
  return out;
}
