/**
 * @file 4-bit weights in blocks along the inputs, in the layout of ONNX Runtime's `MatMulNBits`: low nibble first, one
 * scale for every block, w = (q - zeroPoint) * scale. Symmetric blocks have the zero point 8.
 */
import { ModelError } from '../errors.ts';

export interface Nbits4 {
  /** Outputs (N) and inputs (K) of the matrix. */
  readonly rows: number;
  readonly columns: number;
  /** Values along K that share a scale: a power of two of at least 16. */
  readonly blockSize: number;
  /** [rows, blocks, blockSize / 2] two values in a byte, the first in the low half. Behind column K: the zero point. */
  readonly data: Uint8Array;
  /** [rows, blocks] */
  readonly scales: Float32Array;
  /** [rows, ceil(blocks / 2)] two zero points in a byte; null for symmetric blocks. */
  readonly zeroPoints: Uint8Array | null;
}

/**
 * Quantises a matrix [rows, columns], row-major.
 * Symmetric: the value of largest magnitude becomes -8, whatever its sign. Asymmetric: the range with 0 in it is cut
 * into 15 steps. A block of zeros has the scale 1.
 * @throws ModelError `invalid-input` for sizes that do not fit.
 */
export function quantiseNbits4(values: Float32Array, rows: number, columns: number, options: { readonly blockSize: number; readonly symmetric: boolean }): Nbits4 {
  const { blockSize, symmetric } = options;
  checkSizes(values.length, rows, columns, blockSize);
  const blocks = Math.ceil(columns / blockSize);
  const data = new Uint8Array((rows * blocks * blockSize) / 2);
  const scales = new Float32Array(rows * blocks);
  const zeroBytes = Math.ceil(blocks / 2);
  const zeroPoints = symmetric ? null : new Uint8Array(rows * zeroBytes);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const from = row * columns + block * blockSize;
      const to = row * columns + Math.min((block + 1) * blockSize, columns);
      const { scale, zero } = symmetric ? symmetricScale(values, from, to) : asymmetricScale(values, from, to);
      scales[row * blocks + block] = scale;
      if (zeroPoints !== null) {
        const at = row * zeroBytes + (block >> 1);
        // The half byte that an odd number of blocks leaves over holds 8, as there.
        zeroPoints[at] = block & 1 ? ((zeroPoints[at] ?? 0) & 15) | (zero << 4) : zero | 0x80;
      }
      const inverse = 1 / scale;
      for (let i = 0; i < blockSize; i++) {
        const value = from + i < to ? (values[from + i] ?? 0) : 0;
        const q = Math.min(15, Math.max(0, roundAway(Math.fround(value * inverse)) + zero));
        const at = ((row * blocks + block) * blockSize + i) >> 1;
        data[at] = (data[at] ?? 0) | (q << (4 * (i & 1)));
      }
    }
  }
  return { rows, columns, blockSize, data, scales, zeroPoints };
}

/** The matrix [rows, columns] that the quantised one stands for. */
export function dequantiseNbits4(matrix: Nbits4): Float32Array {
  const { rows, columns, blockSize, data, scales, zeroPoints } = matrix;
  const blocks = Math.ceil(columns / blockSize);
  const zeroBytes = Math.ceil(blocks / 2);
  const out = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const block = Math.floor(column / blockSize);
      const at = (row * blocks + block) * blockSize + (column % blockSize);
      const q = ((data[at >> 1] ?? 0) >> (4 * (at & 1))) & 15;
      const zero = zeroPoints === null ? 8 : ((zeroPoints[row * zeroBytes + (block >> 1)] ?? 0) >> (4 * (block & 1))) & 15;
      out[row * columns + column] = (q - zero) * (scales[row * blocks + block] ?? 0);
    }
  }
  return out;
}

function symmetricScale(values: Float32Array, from: number, to: number): { scale: number; zero: number } {
  let extreme = 0;
  for (let i = from; i < to; i++) if (Math.abs(values[i] ?? 0) > Math.abs(extreme)) extreme = values[i] ?? 0;
  return { scale: extreme === 0 ? 1 : Math.fround(extreme / -8), zero: 8 };
}

function asymmetricScale(values: Float32Array, from: number, to: number): { scale: number; zero: number } {
  let low = 0;
  let high = 0;
  for (let i = from; i < to; i++) {
    low = Math.min(low, values[i] ?? 0);
    high = Math.max(high, values[i] ?? 0);
  }
  const scale = high === low ? 1 : Math.fround((high - low) / 15);
  return { scale, zero: Math.min(15, Math.max(0, roundAway(-low / scale))) };
}

/** Halves away from zero, as C's roundf. */
function roundAway(value: number): number {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}

function checkSizes(length: number, rows: number, columns: number, blockSize: number): void {
  if (!Number.isSafeInteger(rows * columns) || rows < 1 || columns < 1 || length !== rows * columns) {
    throw new ModelError('invalid-input', { argument: 'values', value: length, message: `must hold ${rows} x ${columns} values`, remedy: 'Give the whole matrix and its shape.' });
  }
  if (blockSize < 16 || !Number.isInteger(Math.log2(blockSize))) {
    throw new ModelError('invalid-input', { argument: 'blockSize', value: blockSize, message: 'must be a power of two of at least 16', remedy: 'Use 32.' });
  }
}
