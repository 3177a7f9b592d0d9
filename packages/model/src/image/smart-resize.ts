/** @file The size an image is brought to before it is cut into patches (`smart_resize` of transformers). */
import { ModelError } from '../errors.ts';

export interface Size {
  readonly height: number;
  readonly width: number;
}

/** Most that the longer side may be of the shorter. */
export const MAX_ASPECT = 200;

/**
 * The size nearest to `height` x `width` whose sides are multiples of `factor` and whose area lies between the two
 * bounds, with the aspect kept as far as possible.
 * @param factor patchSize * spatialMergeSize, pixels.
 * @throws ModelError `invalid-image` for sides that are not positive integers or an aspect over 200.
 */
export function smartResize(height: number, width: number, factor = 28, minPixels = 56 * 56, maxPixels = 14 * 14 * 4 * 1280): Size {
  for (const [name, value] of Object.entries({ height, width, factor, minPixels, maxPixels })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new ModelError('invalid-image', { argument: name, value, message: 'must be a positive integer', remedy: 'Give sizes in pixels.' });
    }
  }
  if (minPixels > maxPixels) {
    throw new ModelError('invalid-image', { argument: 'minPixels', value: minPixels, message: `must not exceed maxPixels (${maxPixels})`, remedy: 'Swap them.' });
  }
  if (Math.max(height, width) / Math.min(height, width) > MAX_ASPECT) {
    throw new ModelError('invalid-image', { argument: 'image', value: { height, width }, message: `must not be more than ${MAX_ASPECT} times as long as wide`, remedy: 'Crop or pad the image.' });
  }
  const rounded = { height: roundHalfEven(height / factor) * factor, width: roundHalfEven(width / factor) * factor };
  const area = rounded.height * rounded.width;
  if (area > maxPixels) {
    const beta = Math.sqrt((height * width) / maxPixels);
    return {
      height: Math.max(factor, Math.floor(height / beta / factor) * factor),
      width: Math.max(factor, Math.floor(width / beta / factor) * factor),
    };
  }
  if (area < minPixels) {
    const beta = Math.sqrt(minPixels / (height * width));
    return { height: Math.ceil((height * beta) / factor) * factor, width: Math.ceil((width * beta) / factor) * factor };
  }
  return rounded;
}

/** Python's `round`: halves go to the even neighbour. */
function roundHalfEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}
