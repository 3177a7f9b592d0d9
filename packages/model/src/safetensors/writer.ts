/**
 * @file Writes safetensors, byte for byte as the reference implementation does: metadata first, tensors by descending
 * alignment of their dtype and then by name, header padded with spaces to 8 bytes.
 */
import { ModelError } from '../errors.ts';
import { DTYPE_BYTES, elementCount, fromFloat32, type Dtype } from './dtype.ts';

/** A tensor to write: little-endian bytes. */
export interface TensorData {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** A tensor that is fetched when its turn comes, so that only one has to be in memory. */
export interface LazyTensor extends Pick<TensorData, 'dtype' | 'shape'> {
  read(): Promise<Uint8Array> | Uint8Array;
}

/** What `from_pretrained` wants to see in every file. */
export const PT_METADATA: Readonly<Record<string, string>> = { format: 'pt' };

/** The order of the dtypes in the reference implementation's enum; files are written from the last to the first. */
const DTYPE_ORDER: readonly Dtype[] = ['BOOL', 'U8', 'F16', 'BF16', 'I32', 'F32', 'I64'];

/** float32 values as a tensor of a floating dtype. */
export function floatTensor(values: Float32Array, shape: readonly number[], dtype: 'F32' | 'F16' | 'BF16' = 'F32'): TensorData {
  return { dtype, shape, data: fromFloat32(values, dtype) };
}

/** Header and order of a file whose data is not at hand yet. */
export interface SafetensorsPlan {
  /** Length prefix and padded JSON. */
  readonly header: Uint8Array;
  /** The order in which the data has to follow. */
  readonly names: readonly string[];
  /** Size of each tensor, bytes, in that order. */
  readonly sizes: readonly number[];
}

/** Lays out a file from dtypes and shapes alone, so that tensors can be written one after the other. */
export function planSafetensors(tensors: ReadonlyMap<string, Pick<TensorData, 'dtype' | 'shape'>>, metadata: Readonly<Record<string, string>> = PT_METADATA): SafetensorsPlan {
  const rank = (name: string): number => DTYPE_ORDER.indexOf(tensors.get(name)?.dtype ?? 'BOOL');
  const names = [...tensors.keys()].toSorted(compareUtf8).toSorted((a, b) => rank(b) - rank(a));
  // JSON.stringify would move keys that look like integers to the front, so the object is put together here.
  const fields = Object.keys(metadata).length === 0 ? [] : [`"__metadata__":${JSON.stringify(metadata)}`];
  let at = 0;
  const sizes = names.map((name) => {
    const { dtype, shape } = tensors.get(name) ?? { dtype: 'U8', shape: [0] };
    if (name === '__metadata__') {
      throw new ModelError('invalid-input', { argument: 'tensors', value: name, message: 'is a reserved name', remedy: 'Rename the tensor.' });
    }
    const bytes = elementCount(shape, name) * DTYPE_BYTES[dtype];
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [at, at + bytes] })}`);
    at += bytes;
    return bytes;
  });
  const json = new TextEncoder().encode(`{${fields.join(',')}}`);
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const header = new Uint8Array(8 + padded).fill(0x20, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(json, 8);
  return { header, names, sizes };
}

/** Refuses data that is not of the size its shape asks for. */
export function checkTensorSize(name: string, data: Uint8Array, bytes: number): Uint8Array {
  if (bytes !== data.byteLength) {
    throw new ModelError('invalid-input', { argument: name, value: data, message: `does not hold the ${bytes} bytes of its dtype and shape`, remedy: 'Give the data of the whole tensor.' });
  }
  return data;
}

/** A whole file in memory. The same input gives the same bytes. @throws ModelError `invalid-input` for data of another size than its shape's. */
export function serializeSafetensors(tensors: ReadonlyMap<string, TensorData>, metadata: Readonly<Record<string, string>> = PT_METADATA): Uint8Array {
  const { header, names, sizes } = planSafetensors(tensors, metadata);
  const out = new Uint8Array(sizes.reduce((sum, size) => sum + size, header.byteLength));
  out.set(header);
  let at = header.byteLength;
  names.forEach((name, i) => {
    const size = sizes[i] ?? 0;
    out.set(checkTensorSize(name, tensors.get(name)?.data ?? new Uint8Array(0), size), at);
    at += size;
  });
  return out;
}

/** Order of the UTF-8 bytes, which is that of Rust's strings (and of code points; not of UTF-16 units). */
function compareUtf8(a: string, b: string): number {
  const left = [...a];
  const right = [...b];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
