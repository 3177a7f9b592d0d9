/** @file Batches of images of known sizes for the vision tower: all but their pixels is the same every time. */
import { type ModelConfig, packVisionInputs, recordVisionTower, type VisionLanguageModel } from '@trimpi/model';
import { gatherRows, Graph, type Plan, type PlanInputs, type Tensor } from '@trimpi/runtime';
import { PixelPlacer } from './pixels.ts';
import type { PixelPool } from './scenes.ts';

/** An image of a batch. */
export interface Picture {
  readonly pool: PixelPool;
  readonly index: number;
  readonly mirrored?: boolean;
}

export class BatchLayout {
  /** Cells of all images. */
  readonly cells: number;
  readonly #inputs: PlanInputs;
  readonly #placers: readonly PixelPlacer[];
  readonly #length: number;

  /** @param sizes of the images, in order. */
  constructor(config: ModelConfig, sizes: readonly { readonly width: number; readonly height: number }[]) {
    const placers = new Map<string, PixelPlacer>();
    this.#placers = sizes.map(({ width, height }) => {
      const key = `${width} ${height}`;
      const placer = placers.get(key) ?? new PixelPlacer(config, width, height);
      placers.set(key, placer);
      return placer;
    });
    const { inputs, rowOfCell } = packVisionInputs(config, this.#placers.map((placer) => ({ gridThw: placer.gridThw, pixelValues: new Float32Array(placer.length) })));
    const inverse = new Int32Array(rowOfCell.length);
    rowOfCell.forEach((row, cell) => (inverse[row] = cell));
    this.cells = rowOfCell.length;
    this.#length = this.#placers.reduce((n, placer) => n + placer.length, 0);
    this.#inputs = { ...inputs, rows: rowOfCell, inverse };
  }

  /** Features of all cells, image by image in raster order: [cells, text width]. The tower puts them out window by window. */
  record(model: VisionLanguageModel, g: Graph): Tensor {
    const features = recordVisionTower(model, g, this.cells * model.config.vision.spatialMergeSize ** 2);
    return gatherRows(features, g.input('rows', [this.cells], 'i32'), g.input('inverse', [this.cells], 'i32'));
  }

  inputs(pictures: readonly Picture[]): PlanInputs {
    const pixelValues = new Float32Array(this.#length);
    let at = 0;
    pictures.forEach(({ pool, index, mirrored }, i) => {
      this.#placers[i]!.write(pool.rgb(index), pixelValues, at, mirrored);
      at += this.#placers[i]!.length;
    });
    return { ...this.#inputs, pixelValues };
  }
}

/** Features of every image of a pool through the tower as it is now, each [cells, text width]; after `signal` not of all. */
export async function encodePool(model: VisionLanguageModel, pool: PixelPool, batch = 64, signal?: AbortSignal): Promise<Float32Array[]> {
  const layout = new BatchLayout(model.config, Array.from({ length: batch }, () => pool));
  const g = new Graph();
  g.output('features', layout.record(model, g));
  const plan: Plan = await model.engine.compile(g);
  try {
    const out: Float32Array[] = [];
    while (out.length < pool.size && signal?.aborted !== true) {
      const first = out.length;
      // The last batch is filled up with its last image.
      const { features } = await plan.run(layout.inputs(Array.from({ length: batch }, (_, j) => ({ pool, index: Math.min(first + j, pool.size - 1) }))), ['features']);
      const size = features!.length / batch;
      for (let j = 0; j < batch && first + j < pool.size; j++) out.push(Float32Array.from(features!.subarray(j * size, (j + 1) * size)));
    }
    return out;
  } finally {
    plan.dispose();
  }
}
