/** @file Decoding of PNG, JPEG and WebP in Node, by sharp (an optional peer dependency). */
import type { Sharp, SharpOptions } from 'sharp';
import { ModelError, reasonOf } from '../errors.ts';
import { MAX_PIXELS, type RawImage } from '../image/raw-image.ts';
import { imageFormat } from '../image/sniff.ts';

type SharpFactory = (input: Uint8Array, options: SharpOptions) => Sharp;

let factory: Promise<SharpFactory> | undefined;

/**
 * Decodes an image to RGB as PIL's `Image.open(...).convert('RGB')` does: stored colours, stored orientation, alpha dropped.
 * @throws ModelError `invalid-image`; `unsupported` when sharp is not installed.
 */
export async function decodeImage(bytes: Uint8Array): Promise<RawImage> {
  const format = imageFormat(bytes);
  factory ??= loadSharp();
  const sharp = await factory;
  try {
    const { data, info } = await sharp(bytes, { failOn: 'error', limitInputPixels: MAX_PIXELS, ignoreIcc: true, pages: 1 })
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const channels = info.channels === 1 ? 1 : 3;
    if (data.length !== info.width * info.height * channels) throw new Error(`${info.channels} channels`);
    return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length), channels };
  } catch (cause) {
    throw new ModelError('invalid-image', { argument: 'image', value: `${format}, ${bytes.byteLength} bytes`, message: `cannot be decoded: ${reasonOf(cause)}`, remedy: 'Check that the file is complete.', cause });
  }
}

async function loadSharp(): Promise<SharpFactory> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    factory = undefined;
    throw new ModelError('unsupported', { argument: 'sharp', value: reasonOf(cause), message: 'is needed to decode images in Node', remedy: 'Run: npm install sharp', cause });
  }
}
