/**
 * @file How the vision tower of Qwen2.5-VL (arXiv 2502.13923, section 2.1.1) cuts images into attention windows, and
 * where each patch lies. Twin of `get_window_index` and `rot_pos_emb` in transformers.
 *
 * Patches come in cells of merge x merge that become one token; a window is a square of whole cells.
 */
import type { VisionConfig } from './config.ts';
import { checkGrid, type GridThw } from './rope-index.ts';

export interface VisionWindows {
  /** [cells] the cell at each place of window order: row i of the tower is cell `windowIndex[i]` (all its patches). */
  readonly windowIndex: Int32Array;
  /** [windows + 1] where each window begins, in patches. */
  readonly cuWindowSeqlens: Int32Array;
  /** [frames + 1] where each frame begins, in patches: the segments of full attention. */
  readonly cuSeqlens: Int32Array;
  /** [patches, 2] row-major: row and column of each patch in its image, in the order of the input. */
  readonly positionsHw: Int32Array;
}

/**
 * @param gridThw frames, rows and columns (patches) of every image.
 * @throws ModelError `invalid-input` for a grid that does not divide into cells.
 */
export function visionWindows(
  gridThw: readonly (readonly number[])[],
  config: Pick<VisionConfig, 'windowSize' | 'spatialMergeSize' | 'patchSize'>,
): VisionWindows {
  const merge = config.spatialMergeSize;
  const grids: GridThw[] = gridThw.map((grid) => checkGrid(grid, merge));
  const patches = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  const cellPatches = merge * merge;
  const windowIndex = new Int32Array(patches / cellPatches);
  const positionsHw = new Int32Array(2 * patches);
  const cuWindowSeqlens = [0];
  const cuSeqlens = [0];
  let cell = 0;
  let filled = 0;
  let patch = 0;
  for (const [t, h, w] of grids) {
    const rows = h / merge;
    const columns = w / merge;
    // Cells on the side of a window; without windows a frame is one.
    const side = config.windowSize === 0 ? Math.max(rows, columns) : Math.floor(config.windowSize / merge / config.patchSize);
    for (let frame = 0; frame < t; frame++) {
      for (let top = 0; top < rows; top += side) {
        for (let left = 0; left < columns; left += side) {
          for (let y = top; y < Math.min(top + side, rows); y++) {
            for (let x = left; x < Math.min(left + side, columns); x++) windowIndex[filled++] = cell + y * columns + x;
          }
          cuWindowSeqlens.push(filled * cellPatches);
        }
      }
      cell += rows * columns;
      cuSeqlens.push(cell * cellPatches);
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
          for (let inner = 0; inner < cellPatches; inner++) {
            positionsHw[2 * patch] = y * merge + Math.floor(inner / merge);
            positionsHw[2 * patch + 1] = x * merge + (inner % merge);
            patch++;
          }
        }
      }
    }
  }
  return { windowIndex, cuWindowSeqlens: Int32Array.from(cuWindowSeqlens), cuSeqlens: Int32Array.from(cuSeqlens), positionsHw };
}
