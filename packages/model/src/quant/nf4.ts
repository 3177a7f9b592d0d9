/**
 * @file NormalFloat 4 (QLoRA, arXiv 2305.14314, in the layout of bitsandbytes): blocks of the flattened matrix, each
 * divided by its largest magnitude and rounded to the nearest of sixteen quantiles of a normal distribution; the first
 * of two values lies in the high half of a byte.
 */
import { ModelError } from '../errors.ts';

/** The sixteen values (QLoRA, appendix E). */
export const NF4_CODEBOOK: Float32Array = Float32Array.of(
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
  0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
);

export interface Nf4 {
  /** Number of values. */
  readonly length: number;
  readonly blockSize: number;
  /** [ceil(length / 2)] */
  readonly packed: Uint8Array;
  /** [ceil(length / blockSize)] largest magnitude of each block. */
  readonly absmax: Float32Array;
}

/** Quantises a flattened matrix. @throws ModelError `invalid-input` for a block size that is no positive even number. */
export function quantiseNf4(values: Float32Array, blockSize = 64): Nf4 {
  if (!Number.isInteger(blockSize) || blockSize < 2 || blockSize % 2 !== 0) {
    throw new ModelError('invalid-input', { argument: 'blockSize', value: blockSize, message: 'must be a positive even number', remedy: 'Use 64.' });
  }
  const absmax = new Float32Array(Math.ceil(values.length / blockSize));
  values.forEach((value, i) => {
    const block = Math.floor(i / blockSize);
    absmax[block] = Math.max(absmax[block] ?? 0, Math.abs(value));
  });
  const packed = new Uint8Array(Math.ceil(values.length / 2));
  values.forEach((value, i) => {
    const scale = absmax[Math.floor(i / blockSize)] ?? 0;
    const code = nearest(scale === 0 ? 0 : Math.fround(value * Math.fround(1 / scale)));
    packed[i >> 1] = (packed[i >> 1] ?? 0) | (i % 2 === 0 ? code << 4 : code);
  });
  return { length: values.length, blockSize, packed, absmax };
}

/** The values that a quantised matrix stands for. */
export function dequantiseNf4({ length, blockSize, packed, absmax }: Nf4): Float32Array {
  const out = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    const byte = packed[i >> 1] ?? 0;
    out[i] = (NF4_CODEBOOK[i % 2 === 0 ? byte >> 4 : byte & 15] ?? 0) * (absmax[Math.floor(i / blockSize)] ?? 0);
  }
  return out;
}

function nearest(value: number): number {
  let code = 0;
  while (code < 15 && value > ((NF4_CODEBOOK[code] ?? 0) + (NF4_CODEBOOK[code + 1] ?? 0)) / 2) code++;
  return code;
}
