import type { Engine, Plan, PlanMemory, Storage } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { Graph } from '../graph.ts';
import type { DType } from '../tensor.ts';
import { layOut } from './layout.ts';

/**
 * An engine without a device: it lays out storages and plans exactly as `WebGpuEngine` does on an adapter with the given
 * limit, and runs nothing. Says what a model needs before anything is loaded.
 */
export class PlanningEngine implements Engine {
  readonly name = 'planning';
  readonly precision = 'f32';
  /** Bytes of all storages that are not disposed. */
  storageBytes = 0;
  /** The largest single storage: what a buffer of the device must hold. */
  largestStorage = 0;
  readonly #maxBinding: number;

  /** @param maxBinding `maxStorageBufferBindingSize` of the device that is planned for, bytes. */
  constructor(maxBinding: number) {
    this.#maxBinding = maxBinding;
  }

  createStorage(name: string, length: number, dtype: DType = 'f32'): Storage {
    const bytes = Math.max(16, Math.ceil(length / 4) * 16);
    this.storageBytes += bytes;
    this.largestStorage = Math.max(this.largestStorage, bytes);
    return { name, length, dtype, write: () => undefined, read: nothing, dispose: () => void (this.storageBytes -= bytes), [Symbol.dispose]: () => void (this.storageBytes -= bytes) };
  }

  async compile(graph: Graph): Promise<Plan> {
    const { launches, memory } = layOut(graph, { subgroup8: false, cooperative: false, software: false, matrixUnits: false }, this.#maxBinding);
    return { run: nothing, assertFinite: nothing, memory: (): PlanMemory => memory, dispatches: launches.length, dispose: () => undefined, [Symbol.dispose]: () => undefined };
  }

  dispose(): void {}

  [Symbol.dispose](): void {}
}

async function nothing(): Promise<never> {
  throw new RuntimeError('disposed', 'PlanningEngine', 'holds no numbers.', 'Use a WebGpuEngine to run.');
}
