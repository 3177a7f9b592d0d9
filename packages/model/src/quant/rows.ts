/** @file Rows of a matrix in 4, 8 or 16 bits as the kernels read them: words whose lowest bits hold the first value, rows padded to whole blocks. */
import { ModelError } from '../errors.ts';
import { fromFloat32 } from '../safetensors/dtype.ts';
import { quantiseNbits4 } from './nbits4.ts';
import { quantiseNf4 } from './nf4.ts';

export interface QuantisationOptions {
  /** 16: half floats. */
  readonly bits: 4 | 8 | 16;
  /** Values along the inputs that share a scale: a power of two of at least 16. Default 32. */
  readonly blockSize?: number;
  /** `nbits` (default): evenly spaced, as `MatMulNBits`; `nf4` (4 bits): NormalFloat of QLoRA. */
  readonly format?: 'nbits' | 'nf4';
}

/** With everything said. */
export interface Quantisation {
  readonly bits: 4 | 8 | 16;
  readonly blockSize: number;
  readonly format: 'nbits' | 'nf4' | 'f16';
}

export interface QuantisedRows {
  /** [rows, blocks * blockSize * bits / 32]. */
  readonly data: Uint32Array;
  /** [rows, blocks]; none for half floats. */
  readonly scales: Float32Array | undefined;
}

/** Quantisation as it is used, with defaults. @throws ModelError `invalid-input`. */
export function resolveQuantisation({ bits, blockSize = 32, format = 'nbits' }: QuantisationOptions): Quantisation {
  const bad = (argument: string, value: unknown, message: string): never => {
    throw new ModelError('invalid-input', { argument: `quantise.${argument}`, value, message, remedy: 'Use { bits: 4 }, { bits: 8 } or { bits: 16 }.' });
  };
  if (bits !== 4 && bits !== 8 && bits !== 16) bad('bits', bits, 'must be 4, 8 or 16');
  if (!Number.isInteger(Math.log2(blockSize)) || blockSize < 16) bad('blockSize', blockSize, 'must be a power of two of at least 16');
  if (format !== 'nbits' && format !== 'nf4') bad('format', format, 'must be nbits or nf4');
  if (format === 'nf4' && bits !== 4) bad('format', format, 'has 4 bits');
  return bits === 16 ? { bits, blockSize: 2, format: 'f16' } : { bits, blockSize, format };
}

/** Words and blocks of a row. */
export function rowLayout(columns: number, { bits, blockSize }: Quantisation): { words: number; blocks: number } {
  const blocks = Math.ceil(columns / blockSize);
  return { words: (blocks * blockSize * bits) / 32, blocks };
}

/** Quantises a matrix [rows, columns]: symmetric blocks, zero exact. */
export function quantiseRows(values: Float32Array, rows: number, columns: number, options: Quantisation): QuantisedRows {
  const { bits, blockSize, format } = options;
  const { words, blocks } = rowLayout(columns, options);
  if (bits === 4 && format === 'nbits') {
    const { data, scales } = quantiseNbits4(values, rows, columns, { blockSize, symmetric: true });
    return { data: new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4), scales };
  }
  const padded = new Float32Array(rows * blocks * blockSize);
  for (let r = 0; r < rows; r++) padded.set(values.subarray(r * columns, (r + 1) * columns), r * blocks * blockSize);
  if (format === 'nf4') {
    const { packed, absmax } = quantiseNf4(padded, blockSize);
    // bitsandbytes puts the first of two values into the high half of a byte.
    const bytes = packed.map((b) => (b >> 4) | ((b & 15) << 4));
    return { data: new Uint32Array(bytes.buffer), scales: absmax };
  }
  if (format === 'f16') {
    const bytes = fromFloat32(padded, 'F16');
    return { data: new Uint32Array(bytes.slice().buffer), scales: undefined };
  }
  const bytes = new Uint8Array(rows * words * 4);
  const scales = new Float32Array(rows * blocks);
  for (let b = 0; b < scales.length; b++) {
    let most = 0;
    for (let i = b * blockSize; i < (b + 1) * blockSize; i++) most = Math.max(most, Math.abs(padded[i]!));
    const scale = most === 0 ? 1 : Math.fround(most / 127);
    scales[b] = scale;
    for (let i = b * blockSize; i < (b + 1) * blockSize; i++) bytes[i] = Math.round(padded[i]! / scale) + 128;
  }
  return { data: new Uint32Array(bytes.buffer), scales };
}
