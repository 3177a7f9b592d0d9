/** @file What inputs are filled with, and what outputs fill: numbers of the host, or parts of storage. */
import type { HostArray, PlanInput, StorageRange } from './engine.ts';
import { RuntimeError } from './errors.ts';
import { describe, sizeOf, type Tensor } from './tensor.ts';

export function isHost(data: PlanInput): data is HostArray {
  return ArrayBuffer.isView(data);
}

/** Refuses parts of storage that are no part of it, of another type, or more than a tensor holds. */
export function checkRanges(t: Tensor, ranges: readonly StorageRange[]): void {
  for (const { storage, offset, length } of ranges) {
    if (storage.dtype !== t.dtype) throw new RuntimeError('dtype', describe(t), `is ${t.dtype}, ${storage.name} is ${storage.dtype}.`, 'Use storage of the same type.');
    if (!(offset >= 0 && length >= 0 && offset + length <= storage.length)) throw new RuntimeError('shape', storage.name, `${length} elements at ${offset} are outside its ${storage.length}.`, 'Give a part of the storage.');
  }
  const total = ranges.reduce((n, r) => n + r.length, 0);
  if (total > sizeOf(t.shape)) throw new RuntimeError('shape', describe(t), `holds fewer than the ${total} elements of the storage named.`, 'Cut the parts to the shape of the plan.');
}

/** Refuses data of another size than its input. */
export function checkInput(t: Tensor, data: HostArray): void {
  if (data.length !== sizeOf(t.shape)) {
    throw new RuntimeError('shape', describe(t), `was given ${data.length} elements, needs ${sizeOf(t.shape)}.`, 'Pad or cut the data to the shape of the plan.');
  }
}
