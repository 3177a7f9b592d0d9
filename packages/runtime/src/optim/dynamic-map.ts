/**
 * @file The 256 values of dynamic 8-bit quantisation (Dettmers et al., "8-bit optimizers via block-wise quantization",
 * arXiv 2110.02861), as `create_dynamic_map` of bitsandbytes makes them: seven decades between 1e-6 and 1, each cut into twice
 * as many parts as the one below, with 0 and 1. A number is stored as the index of the nearest value, times the largest
 * magnitude of its block.
 */

/** Elements that share a largest magnitude. */
export const BLOCK_8BIT = 256;

/** The values in ascending order; `signed` for first moments, not for second ones. */
export function dynamicMap(signed: boolean): Float32Array {
  const values = [0, 1];
  for (let decade = 0; decade < 7; decade++) {
    const parts = signed ? 2 ** decade : 2 ** (decade + 1);
    for (let i = 0; i < parts; i++) {
      const mean = (0.1 + (0.9 * (i + 0.5)) / parts) * 10 ** (decade - 6);
      values.push(mean);
      if (signed) values.push(-mean);
    }
  }
  return Float32Array.from(values).sort();
}

/** Index of the value nearest to `x` (the lower one half way between two). */
export function nearestCode(map: ArrayLike<number>, x: number): number {
  let at = 0;
  for (let step = 128; step > 0; step >>= 1) if (at + step < 256 && map[at + step]! <= x) at += step;
  return at < 255 && x - map[at]! > map[at + 1]! - x ? at + 1 : at;
}
