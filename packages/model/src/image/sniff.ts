/** @file The format of an encoded image, by its first bytes. */
import { ModelError } from '../errors.ts';

export type ImageFormat = 'png' | 'jpeg' | 'webp';

/** @throws ModelError `invalid-image` for anything but PNG, JPEG and WebP. */
export function imageFormat(bytes: Uint8Array): ImageFormat {
  const starts = (offset: number, ...expected: number[]): boolean => expected.every((byte, i) => bytes[offset + i] === byte);
  if (starts(0, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return 'png';
  if (starts(0, 0xff, 0xd8, 0xff)) return 'jpeg';
  if (starts(0, 0x52, 0x49, 0x46, 0x46) && starts(8, 0x57, 0x45, 0x42, 0x50)) return 'webp';
  throw new ModelError('invalid-image', { argument: 'image', value: bytes.slice(0, 8), message: 'is neither PNG, JPEG nor WebP', remedy: 'Convert the image first.' });
}
