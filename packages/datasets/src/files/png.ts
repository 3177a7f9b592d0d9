import { decode, encode } from 'fast-png';
import type { RgbImage } from '../core/image.ts';

/** PNG bytes of an image. */
export function encodePng(image: RgbImage): Uint8Array {
  return encode({ width: image.width, height: image.height, data: image.rgb, channels: 3, depth: 8 });
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
