/** @file Element types of safetensors files, and their conversion to and from float32. */
import { ModelError } from '../errors.ts';

export type Dtype = 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'U8' | 'BOOL';

/** Bytes in an element. */
export const DTYPE_BYTES: Readonly<Record<Dtype, number>> = { F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1 };

/** Whether a string names a dtype that is read here. */
export function isDtype(value: unknown): value is Dtype {
  return typeof value === 'string' && Object.hasOwn(DTYPE_BYTES, value);
}

/** float16 bits to float32 value, all 65,536 of them, made at first use. */
let halfTable: Float32Array | undefined;

function halfValues(): Float32Array {
  if (halfTable !== undefined) return halfTable;
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    table[bits] =
      exponent === 31
        ? fraction === 0
          ? sign * Infinity
          : NaN
        : exponent === 0
          ? sign * fraction * 2 ** -24
          : sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  halfTable = table;
  return table;
}

/** One float16, given by its bits, as a number. */
export function halfToFloat(bits: number): number {
  return halfValues()[bits & 0xffff] ?? NaN;
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** The bits of the float16 nearest to a number, ties to even (IEEE 754). */
export function floatToHalf(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x33000001) return sign;
  if (magnitude < 0x38800000) {
    // Subnormal: the value in units of 2^-24, which float64 holds exactly, rounded half to even.
    return sign | roundHalfEven(Math.abs(scratchFloat[0]) * 2 ** 24);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

function roundHalfEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}

/** The bits of the bfloat16 nearest to a number, ties to even. */
export function floatToBfloat16(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] ?? 0;
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) | 0x40) & 0xffff;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Little-endian bytes of `dtype` as float32 values (I64 and I32 rounded to float32). Always a copy. */
export function toFloat32(bytes: Uint8Array, dtype: Dtype): Float32Array {
  const count = bytes.byteLength / DTYPE_BYTES[dtype];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float32Array(count);
  switch (dtype) {
    case 'F32':
      new Uint8Array(out.buffer).set(bytes.subarray(0, count * 4));
      return out;
    case 'F16': {
      const table = halfValues();
      for (let i = 0; i < count; i++) out[i] = table[view.getUint16(2 * i, true)] ?? NaN;
      return out;
    }
    case 'BF16': {
      const bits = new Uint32Array(out.buffer);
      for (let i = 0; i < count; i++) bits[i] = view.getUint16(2 * i, true) << 16;
      return out;
    }
    case 'I64':
      for (let i = 0; i < count; i++) out[i] = Number(view.getBigInt64(8 * i, true));
      return out;
    case 'I32':
      for (let i = 0; i < count; i++) out[i] = view.getInt32(4 * i, true);
      return out;
    case 'U8':
    case 'BOOL':
      out.set(bytes);
      return out;
    default:
      return dtype satisfies never;
  }
}

/** float32 values as little-endian bytes of a floating dtype, rounded to nearest, ties to even. */
export function fromFloat32(values: Float32Array, dtype: 'F32' | 'F16' | 'BF16'): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
  const out = new Uint8Array(values.length * 2);
  const view = new DataView(out.buffer);
  const convert = dtype === 'F16' ? floatToHalf : floatToBfloat16;
  for (let i = 0; i < values.length; i++) view.setUint16(2 * i, convert(values[i] ?? NaN), true);
  return out;
}

/** Elements in a shape, exact, or an error when the product leaves the exact integers. */
export function elementCount(shape: readonly number[], argument: string): number {
  let count = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new ModelError('invalid-safetensors', { argument, value: shape, message: 'has a shape that is not a list of sizes', remedy: 'Write the file again.' });
    }
    count *= size;
  }
  if (!Number.isSafeInteger(count)) {
    throw new ModelError('invalid-safetensors', { argument, value: shape, message: 'has a shape whose product overflows', remedy: 'Write the file again.' });
  }
  return count;
}
