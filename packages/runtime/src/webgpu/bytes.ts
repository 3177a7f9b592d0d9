import type { HostArray } from '../engine.ts';
import type { DType } from '../tensor.ts';

/** Host numbers as the element type of a buffer. */
export function toBytes(data: HostArray, dtype: DType): Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  switch (dtype) {
    case 'f32':
      return data instanceof Float32Array ? (data as Float32Array<ArrayBuffer>) : Float32Array.from(data);
    case 'i32':
      return data instanceof Int32Array ? (data as Int32Array<ArrayBuffer>) : Int32Array.from(data);
    case 'u32':
      return data instanceof Uint32Array ? (data as Uint32Array<ArrayBuffer>) : Uint32Array.from(data);
    default:
      return dtype satisfies never;
  }
}

/** Bytes of a buffer as numbers. */
export function fromBytes(bytes: ArrayBuffer, dtype: DType): HostArray {
  switch (dtype) {
    case 'f32':
      return new Float32Array(bytes);
    case 'i32':
      return new Int32Array(bytes);
    case 'u32':
      return new Uint32Array(bytes);
    default:
      return dtype satisfies never;
  }
}
