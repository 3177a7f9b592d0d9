/** @file What the host works out for `vision_encoder.onnx` from the grids of the images. */
import type { ModelConfig } from '../config.ts';
import { type BatchImage, packVision } from '../vl/batch.ts';
import { visionWindows } from '../windows.ts';

/** An input as data and extents; integers are int64 in ONNX. */
export interface OnnxArray {
  readonly data: Float32Array | BigInt64Array;
  readonly dims: readonly number[];
}

/** Added to scores of places that are no patches. */
const FAR = -1e9;

/**
 * The inputs of `vision_encoder.onnx` for images of any sizes. P patches in the order of the processor:
 * `pixel_values` [P, patch length], `patch_positions` [2, P] (row, column), and for windows and frames the patches of each
 * segment `*_index` [n, longest], `*_mask` [n, 1, 1, longest] (0 or -1e9) and where each patch went, `*_inverse` [P].
 * @throws ModelError `invalid-input` for pixels that do not fit the grid.
 */
export function onnxVisionInputs(config: ModelConfig, images: readonly (BatchImage & { readonly pixelValues: Float32Array })[]): Record<string, OnnxArray> {
  const { windowIndex, cuWindowSeqlens, cuSeqlens, positionsHw } = visionWindows(images.map((i) => i.gridThw), config.vision);
  const { packed } = packVision(config, images); // Checks the sizes; corners are there only without windows, so in this order.
  const patches = packed.patches;
  const merge = config.vision.spatialMergeSize ** 2;
  const pixels = new Float32Array(packed.pixelValues.length);
  let at = 0;
  for (const { pixelValues } of images) {
    pixels.set(pixelValues, at);
    at += pixelValues.length;
  }
  const inputs: Record<string, OnnxArray> = {
    pixel_values: { data: pixels, dims: [patches, pixels.length / patches] },
    patch_positions: int64([2, patches], (i) => positionsHw[2 * (i % patches) + Math.floor(i / patches)]!),
  };
  const blocks = Array.from({ length: config.vision.depth }, (_, i) => i);
  const framed = (i: number) => config.vision.windowSize === 0 || config.vision.fullattBlockIndexes.includes(i);
  if (blocks.some((i) => !framed(i))) Object.assign(inputs, segmentInputs('window', cuWindowSeqlens, patches, (row) => windowIndex[Math.floor(row / merge)]! * merge + (row % merge)));
  if (blocks.some(framed)) Object.assign(inputs, segmentInputs('frame', cuSeqlens, patches, (row) => row));
  if (packed.corners !== undefined) {
    const { ids, weights } = packed.corners;
    inputs['position_corners'] = int64([patches, 4], (i) => ids[i]!);
    inputs['position_weights'] = { data: weights, dims: [patches, 4] };
  }
  return inputs;
}

/** Rows of segments as indices of patches. */
function segmentInputs(name: string, cu: Int32Array, patches: number, patchOf: (row: number) => number): Record<string, OnnxArray> {
  const segments = cu.length - 1;
  let longest = 0;
  for (let s = 0; s < segments; s++) longest = Math.max(longest, cu[s + 1]! - cu[s]!);
  const index = new BigInt64Array(segments * longest);
  const mask = new Float32Array(segments * longest).fill(FAR);
  const inverse = new BigInt64Array(patches);
  for (let s = 0; s < segments; s++) {
    for (let row = cu[s]!; row < cu[s + 1]!; row++) {
      const place = s * longest + row - cu[s]!;
      index[place] = BigInt(patchOf(row));
      mask[place] = 0;
      inverse[patchOf(row)] = BigInt(place);
    }
  }
  return { [`${name}_index`]: { data: index, dims: [segments, longest] }, [`${name}_mask`]: { data: mask, dims: [segments, 1, 1, longest] }, [`${name}_inverse`]: { data: inverse, dims: [patches] } };
}

function int64(dims: readonly number[], value: (i: number) => number): OnnxArray {
  return { data: BigInt64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => BigInt(value(i))), dims };
}
