/** @file An image to the patches the vision tower takes (transformers' `Qwen2VLImageProcessor`, with PIL's resampling). */
import { checkGrid, type GridThw } from '../rope-index.ts';
import type { PreprocessorConfig } from './preprocessor-config.ts';
import { toRgb, type RawImage } from './raw-image.ts';
import { resizeBicubic } from './resize-bicubic.ts';
import { smartResize } from './smart-resize.ts';

export interface PreprocessedImage {
  /** [patches, 3 * temporalPatchSize * patchSize^2] row-major; patches cell by cell, values channel, frame, row, column. */
  readonly pixelValues: Float32Array;
  readonly gridThw: GridThw;
}

/**
 * Resizes, normalises and cuts a still into patches.
 * @throws ModelError `invalid-image`.
 */
export function preprocessImage(image: RawImage, config: PreprocessorConfig): PreprocessedImage {
  const rgb = toRgb(image);
  const { height, width } = smartResize(image.height, image.width, config.patchSize * config.mergeSize, config.minPixels, config.maxPixels);
  return patchify(resizeBicubic(rgb, image.width, image.height, width, height), width, height, config);
}

/** Normalises and cuts RGB bytes whose sides are multiples of patchSize * mergeSize already. */
export function patchify(rgb: Uint8Array, width: number, height: number, config: PreprocessorConfig): PreprocessedImage {
  const { patchSize: patch, temporalPatchSize: frames, mergeSize: merge } = config;
  const gridThw = checkGrid([1, height / patch, width / patch], merge);
  const [, rows, columns] = gridThw;
  const value = normalisation(config);
  const out = new Float32Array(rows * columns * 3 * frames * patch * patch);
  let at = 0;
  for (let cellY = 0; cellY < rows; cellY += merge) {
    for (let cellX = 0; cellX < columns; cellX += merge) {
      for (let inner = 0; inner < merge * merge; inner++) {
        const top = (cellY + Math.floor(inner / merge)) * patch;
        const left = (cellX + (inner % merge)) * patch;
        for (let channel = 0; channel < 3; channel++) {
          const begin = at;
          for (let y = 0; y < patch; y++) {
            let from = 3 * ((top + y) * width + left) + channel;
            for (let x = 0; x < patch; x++, from += 3) out[at++] = value[channel * 256 + (rgb[from] ?? 0)] ?? 0;
          }
          // A still is a film of the same frame.
          for (let frame = 1; frame < frames; frame++, at += patch * patch) out.copyWithin(at, begin, begin + patch * patch);
        }
      }
    }
  }
  return { pixelValues: out, gridThw };
}

/** [3, 256]: what each byte becomes in each channel, with the float32 roundings of the Python processor. */
function normalisation(config: PreprocessorConfig): Float32Array {
  const table = new Float32Array(3 * 256);
  for (let channel = 0; channel < 3; channel++) {
    const mean = Math.fround(config.imageMean[channel] ?? 0);
    const std = Math.fround(config.imageStd[channel] ?? 1);
    for (let byte = 0; byte < 256; byte++) {
      const rescaled = Math.fround(byte * config.rescaleFactor);
      table[channel * 256 + byte] = Math.fround(rescaled - mean) / std;
    }
  }
  return table;
}
