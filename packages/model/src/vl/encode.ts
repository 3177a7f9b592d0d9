/** @file Images through the vision tower alone: features in raster order of cells, for a batch to take in later. */
import { gatherRows, Graph, type PlanInputs, type PlanOutputs } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';
import type { LoraAdapter } from '../lora/adapter.ts';
import { type BatchImage, cellsOf, packVision, type PixelImage } from './batch.ts';
import type { VisionLanguageModel } from './model.ts';
import { recordVision, roundUp, visionInputs } from './plans.ts';

/** Outputs of the encoder, one for the embedding and one for each level of DeepStack. */
export function featureNames(config: ModelConfig): string[] {
  return Array.from({ length: 1 + config.vision.deepstackVisualIndexes.length }, (_, k) => `features.${k}`);
}

/** Records the tower for so many cells: `featureNames` [cells, text width]. Input `order`: the row at which the tower puts out each cell. */
export function recordEncoder(model: VisionLanguageModel, cells: number, adapter: LoraAdapter | undefined): Graph {
  const g = new Graph();
  const { features, deep } = recordVision(model, g, cells * model.config.vision.spatialMergeSize ** 2, (p) => adapter?.factors(g, p));
  const [order, inverse] = [g.input('order', [cells], 'i32'), g.input('order.inverse', [cells], 'i32')];
  [features, ...deep].forEach((t, k) => g.output(`features.${k}`, gatherRows(t, order, inverse)));
  return g;
}

/** What the encoder takes for images (perhaps more than it asks for), and the cells it has to be recorded for. */
export function encoderInputs(config: ModelConfig, images: readonly PixelImage[]): { readonly cells: number; readonly inputs: PlanInputs } {
  const { packed, rowOfCell } = packVision(config, images);
  const cells = roundUp(packed.cells, 16);
  const order = Int32Array.from({ length: cells }, (_, i) => rowOfCell[i] ?? -1);
  const inverse = new Int32Array(cells).fill(-1);
  rowOfCell.forEach((row, cell) => (inverse[row] = cell));
  return { cells, inputs: { ...visionInputs(packed, cells * config.vision.spatialMergeSize ** 2), order, 'order.inverse': inverse } };
}

/** The features of each image, all cells and then those of each level of DeepStack. */
export function cutFeatures(config: ModelConfig, images: readonly PixelImage[], out: PlanOutputs): (BatchImage & { readonly features: Float32Array })[] {
  const names = featureNames(config);
  let at = 0;
  return images.map(({ gridThw }) => {
    const size = cellsOf(config, gridThw) * config.vision.outHiddenSize;
    const features = new Float32Array(names.length * size);
    names.forEach((name, k) => features.set(out[name]!.subarray(at, at + size), k * size));
    at += size;
    return { gridThw, features };
  });
}
