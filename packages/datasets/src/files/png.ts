import { decode, encode } from 'fast-png';
import type { RgbImage } from '../core/image.ts';
import { imageFormat } from './imageformat.ts';

/** PNG bytes of an image. */
export function encodePng(image: RgbImage): Uint8Array {
  return encode({ width: image.width, height: image.height, data: image.rgb, channels: 3, depth: 8 });
}

/** Bytes at the start of a PNG that say its size. */
export const PNG_HEADER_BYTES = 24;

/** Width and height by the first bytes of a PNG; undefined when they are those of another file. */
export function pngSize(header: Uint8Array): { readonly width: number; readonly height: number } | undefined {
  if (header.length < PNG_HEADER_BYTES || imageFormat(header) !== 'png' || String.fromCharCode(...header.subarray(12, 16)) !== 'IHDR') return undefined;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** An image from PNG bytes (grey, palette and alpha are brought to RGB). Throws what the decoder throws. */
export function decodePng(bytes: Uint8Array): RgbImage {
  const png = decode(bytes);
  const rgb = new Uint8Array(png.width * png.height * 3);
  const scale = png.depth === 16 ? 257 : png.depth < 8 ? 1 / (255 / ((1 << png.depth) - 1)) : 1;
  for (let i = 0; i < png.width * png.height; i++) {
    for (let k = 0; k < 3; k++) {
      if (png.palette) rgb[3 * i + k] = png.palette[png.data[i] ?? 0]?.[k] ?? 0;
      else rgb[3 * i + k] = Math.floor((png.data[i * png.channels + (png.channels < 3 ? 0 : k)] ?? 0) / scale);
    }
  }
  return { width: png.width, height: png.height, rgb };
}
