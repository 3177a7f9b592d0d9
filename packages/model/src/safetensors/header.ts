/**
 * @file The header of a safetensors file: u64 little-endian length, JSON, data.
 *
 * The rules are those of the reference implementation (huggingface/safetensors): a header of at most 100 MB that starts
 * with `{`, tensors that tile the data region exactly (no overlap, no hole, no byte left over), sizes that follow from
 * dtype and shape. A file that breaks one of them is refused as a whole, before any tensor is read.
 */
import { ModelError } from '../errors.ts';
import { isObject } from '../json-fields.ts';
import { DTYPE_BYTES, elementCount, isDtype, type Dtype } from './dtype.ts';

/** One tensor of a file. `begin` and `end` are absolute offsets in the file, bytes. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

export const MAX_HEADER_BYTES = 100_000_000;

/** The header length from the first 8 bytes, checked against the size of the file. */
export function headerLength(prefix: Uint8Array, fileSize: number, name: string): number {
  if (fileSize < 8 || prefix.byteLength < 8) return refuse(name, fileSize, 'is too short to hold a safetensors header');
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) return refuse(name, length, `has a header longer than ${MAX_HEADER_BYTES} bytes`);
  if (length < 2n) return refuse(name, length, 'has a header too short to be JSON');
  if (8n + length > BigInt(fileSize)) return refuse(name, length, `has a header that runs past the end of the file (${fileSize} bytes)`);
  return Number(length);
}

/** Parses the JSON of a header and checks every tensor against the size of the file. */
export function parseHeader(json: Uint8Array, fileSize: number, name: string): SafetensorsHeader {
  if (json[0] !== 0x7b) refuse(name, json[0], 'has a header that does not start with {');
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    return refuse(name, `${json.byteLength} bytes`, 'has a header that is not JSON', cause);
  }
  if (!isObject(parsed)) return refuse(name, parsed, 'has a header that is not an object');
  const base = 8 + json.byteLength;
  const dataSize = fileSize - base;
  const tensors: TensorInfo[] = [];
  let metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(parsed)) {
    if (key === '__metadata__') {
      metadata = parseMetadata(value, name);
      continue;
    }
    tensors.push(parseTensor(key, value, base, dataSize, name));
  }
  // Tensors must tile the data region. Empty ones sort before the tensor that begins where they lie.
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = base;
  for (const tensor of tensors) {
    if (tensor.begin !== at) {
      refuse(`${name}: ${tensor.name}`, [tensor.begin - base, tensor.end - base], tensor.begin < at ? 'overlaps the tensor before it' : 'leaves a hole before it');
    }
    at = tensor.end;
  }
  if (at !== fileSize) refuse(name, fileSize, `has ${fileSize - at} bytes that belong to no tensor`);
  return { tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])), metadata };
}

function parseMetadata(value: unknown, name: string): Record<string, string> {
  if (!isObject(value)) return refuse(name, value, 'has a __metadata__ that is not an object');
  const out: [string, string][] = [];
  for (const [key, item] of Object.entries(value)) {
    if (typeof item !== 'string') return refuse(`${name}: __metadata__.${key}`, item, 'must be a string');
    out.push([key, item]);
  }
  return Object.fromEntries(out);
}

function parseTensor(key: string, value: unknown, base: number, dataSize: number, file: string): TensorInfo {
  const name = `${file}: ${key}`;
  if (!isObject(value)) return refuse(name, value, 'is not described by an object');
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) return refuse(name, dtype, `has a dtype other than ${Object.keys(DTYPE_BYTES).join(', ')}`);
  if (!isSizes(shape) || shape.length > 8) return refuse(name, shape, 'has a shape that is not a list of at most 8 sizes');
  if (!isSizes(offsets)) return refuse(name, offsets, 'has data_offsets that are not a pair of offsets');
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined || offsets.length !== 2 || begin > end) return refuse(name, offsets, 'has data_offsets that are not a pair of offsets');
  if (end > dataSize) return refuse(name, offsets, `runs past the end of the data (${dataSize} bytes): the file is truncated`);
  const bytes = elementCount(shape, name) * DTYPE_BYTES[dtype];
  if (bytes !== end - begin) return refuse(name, offsets, `does not span the ${bytes} bytes of its dtype and shape`);
  return { name: key, dtype, shape, begin: base + begin, end: base + end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'number' && Number.isSafeInteger(item) && item >= 0);
}

function refuse(argument: string, value: unknown, message: string, cause?: unknown): never {
  throw new ModelError('invalid-safetensors', { argument, value, message, remedy: 'Fetch or write the file again.', ...(cause === undefined ? {} : { cause }) });
}
