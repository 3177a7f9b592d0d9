import type { Storage } from './engine.ts';
import type { Graph } from './graph.ts';

/** Element types of a tensor; all are four bytes wide. */
export type DType = 'f32' | 'i32' | 'u32';
export type Shape = readonly number[];

/**
 * A value of a recorded graph. It holds no numbers: an engine decides where they live.
 * - `intermediate`: produced by an operation, lives as long as it is used;
 * - `input`: filled by the caller before each run;
 * - `storage`: a view of persistent memory (parameters, gradients, optimiser state, caches).
 */
export interface Tensor {
  readonly id: number;
  readonly graph: Graph;
  readonly kind: 'intermediate' | 'input' | 'storage';
  readonly shape: Shape;
  readonly dtype: DType;
  readonly name: string;
  /** Only for `storage`: the memory and where in it (in elements) the tensor begins. */
  readonly storage?: Storage;
  readonly offset?: number;
  /** Only for a trainable parameter: where its gradient is accumulated. */
  readonly grad?: Tensor;
}

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** `[rows, columns]` of a tensor seen as a matrix: the last axis against all others. */
export function rowsAndColumns(t: Tensor): [number, number] {
  const columns = t.shape[t.shape.length - 1] ?? 1;
  return [columns === 0 ? 0 : sizeOf(t.shape) / columns, columns];
}

/** A tensor in words, for messages: `gate f32[4, 16]`. */
export function describe(t: Tensor): string {
  return `${t.name} ${t.dtype}[${t.shape.join(', ')}]`;
}
