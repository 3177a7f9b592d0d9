import { DatasetError, requireInteger } from './error.ts';

/** An image in memory: `rgb` holds width * height * 3 bytes, row by row from the top. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** A window in pixels, from the top left corner. */
export interface Crop {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Throws `invalidArgument` unless the crop lies in the image; returns it with the whole image as default. */
export function resolveCrop(crop: Crop | undefined, width: number, height: number): Crop {
  const c = crop ?? { x: 0, y: 0, width, height };
  requireInteger('crop.x', c.x, 0, width - 1);
  requireInteger('crop.y', c.y, 0, height - 1);
  requireInteger('crop.width', c.width, 1, width - c.x);
  requireInteger('crop.height', c.height, 1, height - c.y);
  return c;
}

/** The part of an image that a crop shows. */
export function cropImage(image: RgbImage, crop: Crop): RgbImage {
  const c = resolveCrop(crop, image.width, image.height);
  const rgb = new Uint8Array(c.width * c.height * 3);
  for (let y = 0; y < c.height; y++) {
    const from = ((y + c.y) * image.width + c.x) * 3;
    rgb.set(image.rgb.subarray(from, from + c.width * 3), y * c.width * 3);
  }
  return { width: c.width, height: c.height, rgb };
}

/** Peak signal-to-noise ratio in dB between two images of one size (infinite when equal). */
export function psnr(a: RgbImage, b: RgbImage): number {
  if (a.width !== b.width || a.height !== b.height) {
    throw new DatasetError('invalidArgument', `images are ${a.width}x${a.height} and ${b.width}x${b.height}; pass two of one size.`);
  }
  let sum = 0;
  for (let i = 0; i < a.rgb.length; i++) {
    const d = (a.rgb[i] as number) - (b.rgb[i] as number);
    sum += d * d;
  }
  return 10 * Math.log10((255 * 255 * a.rgb.length) / sum);
}

/** A page of one colour to draw on. */
export function blankImage(width: number, height: number, colour: readonly [number, number, number]): RgbImage {
  requireInteger('width', width, 1, 16384);
  requireInteger('height', height, 1, 16384);
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < rgb.length; i += 3) {
    rgb[i] = colour[0];
    rgb[i + 1] = colour[1];
    rgb[i + 2] = colour[2];
  }
  return { width, height, rgb };
}
