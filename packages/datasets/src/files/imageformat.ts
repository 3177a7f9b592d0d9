/** @file The format of an encoded picture, by its first bytes. */

export type ImageFormat = 'png' | 'jpeg' | 'webp';

/** Undefined for anything but PNG, JPEG and WebP. */
export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  const starts = (offset: number, ...expected: number[]): boolean => expected.every((byte, i) => bytes[offset + i] === byte);
  if (starts(0, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return 'png';
  if (starts(0, 0xff, 0xd8, 0xff)) return 'jpeg';
  return starts(0, 0x52, 0x49, 0x46, 0x46) && starts(8, 0x57, 0x45, 0x42, 0x50) ? 'webp' : undefined;
}
