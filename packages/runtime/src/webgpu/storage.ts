import type { HostArray, Storage } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { DType } from '../tensor.ts';
import { fromBytes, toBytes } from './bytes.ts';

/** What storage asks of its engine. */
export interface StorageHost {
  readonly device: { readonly gpu: GPUDevice };
  check(): void;
  buffer(label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer;
  release(buffer: GPUBuffer): void;
  readBuffer(buffer: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer>;
}

/** Persistent memory as one GPU buffer. */
export class GpuStorage implements Storage {
  readonly name: string;
  readonly length: number;
  readonly dtype: DType;
  readonly buffer: GPUBuffer;
  readonly #engine: StorageHost;
  #disposed = false;

  constructor(engine: StorageHost, name: string, length: number, dtype: DType) {
    this.#engine = engine;
    this.name = name;
    this.length = length;
    this.dtype = dtype;
    this.buffer = engine.buffer(name, Math.max(16, Math.ceil(length / 4) * 16), GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST);
  }

  write(data: HostArray, offset = 0): void {
    this.check();
    if (offset < 0 || offset + data.length > this.length) {
      throw new RuntimeError('shape', this.name, `${data.length} elements at ${offset} do not fit its ${this.length}.`, 'Write within the storage.');
    }
    this.#engine.device.gpu.queue.writeBuffer(this.buffer, offset * 4, toBytes(data, this.dtype));
  }

  async read(offset = 0, length = this.length - offset): Promise<HostArray> {
    this.check();
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new RuntimeError('shape', this.name, `${length} elements at ${offset} are outside its ${this.length}.`, 'Read within the storage.');
    }
    return fromBytes(await this.#engine.readBuffer(this.buffer, offset * 4, length * 4), this.dtype);
  }

  /** Throws `disposed`, and what the engine throws. */
  check(): void {
    this.#engine.check();
    if (this.#disposed) throw new RuntimeError('disposed', this.name, 'has been disposed of.', 'Keep it as long as it is used; a store disposes of gradients and moments when it is no longer trainable.');
  }

  dispose(): void {
    this.#disposed = true;
    this.#engine.release(this.buffer);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
