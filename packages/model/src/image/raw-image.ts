/** @file Decoded pixels, and their conversion to RGB. */
import { ModelError } from '../errors.ts';

/** Interleaved 8-bit pixels, rows from the top: grey (1), RGB (3) or RGBA (4). `ImageData` of a canvas fits. */
export interface RawImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
  /** Default: from the length of the data. */
  readonly channels?: 1 | 3 | 4;
}

/** Largest number of pixels that is taken (the limit at which PIL speaks of a decompression bomb). */
export const MAX_PIXELS = 178_956_970;

/** RGB bytes [height, width, 3]; alpha is dropped and grey repeated, as PIL's `convert('RGB')` does. */
export function toRgb(image: RawImage): Uint8Array {
  const { width, height, data } = image;
  const pixels = width * height;
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1 || pixels > MAX_PIXELS) {
    throw new ModelError('invalid-image', { argument: 'image', value: { width, height }, message: `must have sides of at least 1 and at most ${MAX_PIXELS} pixels`, remedy: 'Shrink the image first.' });
  }
  const channels = image.channels ?? data.length / pixels;
  if ((channels !== 1 && channels !== 3 && channels !== 4) || data.length !== pixels * channels) {
    throw new ModelError('invalid-image', { argument: 'image.data', value: data.length, message: `must hold 1, 3 or 4 bytes for each of ${width} x ${height} pixels`, remedy: 'Pass 8-bit grey, RGB or RGBA pixels without row padding.' });
  }
  if (channels === 3) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const rgb = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) {
    const at = i * channels;
    rgb[3 * i] = data[at] ?? 0;
    rgb[3 * i + 1] = data[channels === 1 ? at : at + 1] ?? 0;
    rgb[3 * i + 2] = data[channels === 1 ? at : at + 2] ?? 0;
  }
  return rgb;
}
