/** @file Decoding of PNG, JPEG and WebP by the browser. */
import { ModelError } from '../errors.ts';
import { MAX_PIXELS, type RawImage } from './raw-image.ts';
import { imageFormat } from './sniff.ts';

/**
 * Decodes an image with `createImageBitmap`: stored colours (no profile applied), stored orientation. Exact for opaque
 * images; behind partial transparency a canvas keeps colours only roughly.
 * @throws ModelError `invalid-image`.
 */
export async function decodeImageInBrowser(bytes: Uint8Array): Promise<RawImage> {
  const format = imageFormat(bytes);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes.slice()], { type: `image/${format}` }), { premultiplyAlpha: 'none', colorSpaceConversion: 'none', imageOrientation: 'none' });
  } catch (cause) {
    throw new ModelError('invalid-image', { argument: 'image', value: `${format}, ${bytes.byteLength} bytes`, message: 'cannot be decoded', remedy: 'Check that the file is complete.', cause });
  }
  try {
    const { width, height } = bitmap;
    const context = width * height > MAX_PIXELS ? null : new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    if (context === null) {
      throw new ModelError('invalid-image', { argument: 'image', value: { width, height }, message: 'is too large to be drawn', remedy: 'Shrink the image first.' });
    }
    context.drawImage(bitmap, 0, 0);
    return { width, height, data: context.getImageData(0, 0, width, height).data, channels: 4 };
  } finally {
    bitmap.close();
  }
}
