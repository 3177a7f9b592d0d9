/**
 * @file Positions of M-RoPE (Qwen2-VL, arXiv 2409.12191, section 2.1; transformers' `get_rope_index`) for stills.
 *
 * A text token stands at the same time, height and width. The cells of an image share one time and spread over height
 * and width; the text behind it goes on after the largest of the three.
 */
import type { ModelConfig } from './config.ts';
import { ModelError } from './errors.ts';

/** Frames, rows and columns of an image, in patches. */
export type GridThw = readonly [t: number, h: number, w: number];

export interface RopeIndex {
  /** [3, L] row-major: time, height, width of every token. 0 at padded tokens. */
  readonly positionIds: Int32Array;
  /** What to add to the number of real tokens so far to get the position of a generated token, on all three axes. */
  readonly ropeDelta: number;
}

export type RopeIndexConfig = Pick<ModelConfig, 'imageTokenId' | 'videoTokenId'> & { readonly vision: Pick<ModelConfig['vision'], 'spatialMergeSize'> };

/**
 * Positions of one row.
 * @param inputIds [L] token ids, with one image token for every merged cell.
 * @param imageGridThw a grid for every image of the row, in order.
 * @param attentionMask [L] 0 at padding, on either side; without it every token is real.
 * @throws ModelError `invalid-input` when image tokens and grids do not match; `unsupported` for video tokens, whose
 * positions differ between versions of transformers and have to be given.
 */
export function getRopeIndex(
  inputIds: ArrayLike<number>,
  imageGridThw: readonly GridThw[],
  config: RopeIndexConfig,
  attentionMask?: ArrayLike<number>,
): RopeIndex {
  const length = inputIds.length;
  if (attentionMask !== undefined && attentionMask.length !== length) {
    throw new ModelError('invalid-input', { argument: 'attentionMask', value: attentionMask.length, message: `must have the length of inputIds, ${length}`, remedy: 'Give one entry for every token.' });
  }
  const positionIds = new Int32Array(3 * length);
  const merge = config.vision.spatialMergeSize;
  let cursor = 0;
  let real = 0;
  let image = 0;
  // The cells of the image that is being walked over, and how many of them are behind.
  let run: { frames: number; rows: number; columns: number; at: number } | undefined;
  for (let i = 0; i < length; i++) {
    if (attentionMask !== undefined && (attentionMask[i] ?? 0) === 0) continue;
    real++;
    const id = inputIds[i] ?? -1;
    if (id === config.videoTokenId) {
      throw new ModelError('unsupported', { argument: 'inputIds', value: id, message: 'holds a video token, whose position depends on the version of transformers', remedy: 'Give positionIds for videos.' });
    }
    if (id !== config.imageTokenId) {
      if (run !== undefined) tooFew(image - 1, run);
      positionIds[i] = positionIds[length + i] = positionIds[2 * length + i] = cursor++;
      continue;
    }
    if (run === undefined) {
      const grid = imageGridThw[image++];
      if (grid === undefined) {
        throw new ModelError('invalid-input', { argument: 'imageGridThw', value: imageGridThw.length, message: 'has fewer images than inputIds has image tokens for', remedy: 'Give one grid for every image.' });
      }
      const [t, h, w] = checkGrid(grid, merge);
      run = { frames: t, rows: h / merge, columns: w / merge, at: 0 };
    }
    const { frames, rows, columns } = run;
    const cell = run.at++;
    positionIds[i] = cursor + Math.floor(cell / (rows * columns));
    positionIds[length + i] = cursor + (Math.floor(cell / columns) % rows);
    positionIds[2 * length + i] = cursor + (cell % columns);
    if (run.at === frames * rows * columns) {
      cursor += Math.max(frames, rows, columns);
      run = undefined;
    }
  }
  if (run !== undefined) tooFew(image - 1, run);
  if (image !== imageGridThw.length) {
    throw new ModelError('invalid-input', { argument: 'imageGridThw', value: imageGridThw.length, message: `has more images than the ${image} that inputIds has image tokens for`, remedy: 'Give one image placeholder for every image.' });
  }
  return { positionIds, ropeDelta: cursor - real };
}

/** A grid as three positive integers, height and width multiples of `merge`. @throws ModelError `invalid-input`. */
export function checkGrid(grid: readonly number[], merge: number): GridThw {
  const [t, h, w] = grid;
  if (
    grid.length !== 3 ||
    t === undefined || h === undefined || w === undefined ||
    !grid.every((size) => Number.isSafeInteger(size) && size > 0 && size < 2 ** 20) ||
    h % merge !== 0 || w % merge !== 0
  ) {
    throw new ModelError('invalid-input', { argument: 'imageGridThw', value: grid, message: `must be frames, rows and columns, the last two multiples of ${merge}`, remedy: 'Use the grids of preprocessImage.' });
  }
  return [t, h, w];
}

function tooFew(image: number, run: { frames: number; rows: number; columns: number; at: number }): never {
  throw new ModelError('invalid-input', { argument: 'inputIds', value: run.at, message: `has fewer image tokens for image ${image} than the ${run.frames * run.rows * run.columns} of its grid`, remedy: 'Repeat the image token t * h * w / merge^2 times.' });
}
