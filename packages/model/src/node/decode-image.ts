/** @file Decoding of PNG, JPEG and WebP in Node, by sharp (an optional peer dependency). */
import type { Sharp, SharpOptions } from 'sharp';
import { ModelError, reasonOf } from '../errors.ts';
import { MAX_PIXELS, type RawImage } from '../image/raw-image.ts';
import { imageFormat } from '../image/sniff.ts';

type SharpFactory = (input: Uint8Array, options: SharpOptions) => Sharp;

let factory: Promise<SharpFactory> | undefined;

/**
 * Decodes an image to RGB as PIL's `Image.open(...).convert('RGB')` does: stored colours, stored orientation, alpha dropped,
 * grey of 16 bits cut off at 255, inks without a profile.
 * @throws ModelError `invalid-image`; `unsupported` when sharp is not installed.
 */
export async function decodeImage(bytes: Uint8Array): Promise<RawImage> {
  const format = imageFormat(bytes);
  factory ??= loadSharp();
  const sharp = await factory;
  try {
    const open = () => sharp(bytes, { failOn: 'error', limitInputPixels: MAX_PIXELS, ignoreIcc: true, pages: 1 });
    const read = async (image: Sharp, channels: (given: number) => number, depth: 'uchar' | 'ushort' = 'uchar') => {
      const { data, info: { width, height, channels: given } } = await image.removeAlpha().raw({ depth }).toBuffer({ resolveWithObject: true });
      if (data.length !== width * height * channels(given) * (depth === 'ushort' ? 2 : 1)) throw new Error(`${given} channels`);
      return { width, height, channels: given, bytes: new Uint8Array(data.buffer, data.byteOffset, data.length) };
    };
    if (format === 'png' && isGrey16(bytes)) {
      const { width, height, bytes: words } = await read(open().toColourspace('grey16'), () => 1, 'ushort');
      return { width, height, data: clipped(words), channels: 1 };
    }
    if (format === 'jpeg' && (await open().metadata()).space === 'cmyk') {
      const { width, height, bytes: inks } = await read(open().pipelineColourspace('cmyk').toColourspace('cmyk'), () => 4);
      return { width, height, data: rgbOfInks(inks), channels: 3 };
    }
    const { width, height, channels, bytes: data } = await read(open().toColourspace('srgb'), (given) => (given === 1 ? 1 : 3));
    return { width, height, data, channels: channels === 1 ? 1 : 3 };
  } catch (cause) {
    throw new ModelError('invalid-image', { argument: 'image', value: `${format}, ${bytes.byteLength} bytes`, message: `cannot be decoded: ${reasonOf(cause)}`, remedy: 'Check that the file is complete.', cause });
  }
}

/** Bit depth 16 and colour type 0 in the header of a PNG. */
function isGrey16(png: Uint8Array): boolean {
  return png[24] === 16 && png[25] === 0;
}

/** PIL's `I;16` to `RGB`: values of 16 bits that are above 255 become 255. */
function clipped(words: Uint8Array): Uint8Array {
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  return Uint8Array.from({ length: words.length / 2 }, (_, i) => Math.min(255, view.getUint16(2 * i, true)));
}

/** PIL's `CMYK` to `RGB`: what is left of white behind the black, less each ink's share of it, (a b + 128) / 255 in whole numbers. */
function rgbOfInks(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let i = 0; i < rgb.length; i++) {
    const at = 4 * Math.floor(i / 3);
    const left = 255 - cmyk[at + 3]!;
    const product = cmyk[at + (i % 3)]! * left + 128;
    rgb[i] = Math.max(0, left - (((product >> 8) + product) >> 8));
  }
  return rgb;
}

async function loadSharp(): Promise<SharpFactory> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    factory = undefined;
    throw new ModelError('unsupported', { argument: 'sharp', value: reasonOf(cause), message: 'is needed to decode images in Node', remedy: 'Run: npm install sharp', cause });
  }
}
