/** @file A fingerprint of a picture that small changes leave as it is (dHash). */
import type { RgbImage } from '../core/image.ts';

/** 64 bits: whether each of 8x8 areas is brighter than its right neighbour. */
export function differenceHash({ width, height, rgb }: RgbImage): Uint8Array {
  const mean = (cx: number, cy: number): number => {
    const x1 = Math.floor((cx * width) / 9);
    const x2 = Math.max(x1 + 1, Math.floor(((cx + 1) * width) / 9));
    const y1 = Math.floor((cy * height) / 8);
    const y2 = Math.max(y1 + 1, Math.floor(((cy + 1) * height) / 8));
    let sum = 0;
    for (let y = y1; y < y2; y++) for (let x = x1; x < x2; x++) for (let k = 0; k < 3; k++) sum += rgb[(y * width + x) * 3 + k] ?? 0;
    return sum / ((x2 - x1) * (y2 - y1));
  };
  const bits = new Uint8Array(64);
  for (let y = 0; y < 8; y++) {
    const row = Array.from({ length: 9 }, (_, x) => mean(x, y));
    for (let x = 0; x < 8; x++) bits[y * 8 + x] = (row[x] as number) > (row[x + 1] as number) ? 1 : 0;
  }
  return bits;
}
