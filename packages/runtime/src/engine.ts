import type { Graph } from './graph.ts';
import type { DType } from './tensor.ts';

/** What the caller hands in and gets back; an engine converts to its own precision. */
export type HostArray = Float32Array | Float64Array | Int32Array | Uint32Array;

/** Persistent memory of an engine: parameters, gradients, optimiser state, caches. Zero when created. */
export interface Storage {
  readonly name: string;
  readonly length: number;
  readonly dtype: DType;
  /** Writes `data` from element `offset` on. */
  write(data: HostArray, offset?: number): void;
  /** Reads `length` elements from `offset` on (all by default); waits for work already submitted. */
  read(offset?: number, length?: number): Promise<HostArray>;
  dispose(): void;
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

export interface PlanMemory {
  /** Bytes of intermediates after reuse by lifetime. */
  readonly intermediates: number;
  /** Bytes of inputs. */
  readonly inputs: number;
  /** Bytes of constants of the dispatches and of the buffers through which outputs are read. */
  readonly overhead: number;
  /** Of the three above: what compiling the graph asks for. */
  readonly total: number;
  /** Bytes of the storages that the graph reads or writes (parameters, gradients, optimiser state, caches), which are there before it. */
  readonly storages: number;
}

/** Part of storage, in elements. */
export interface StorageRange {
  readonly storage: Storage;
  readonly offset: number;
  readonly length: number;
}

/**
 * What an input is filled with: numbers of the host, or parts of storage of the same engine one behind the other, copied
 * without passing through the host (what they leave of the input keeps its values).
 */
export type PlanInput = HostArray | readonly StorageRange[];
export type PlanInputs = Readonly<Record<string, PlanInput>>;
export type PlanOutputs = Record<string, HostArray>;

/** A graph made ready to run: replayed as often as wanted, with nothing created in between. */
export interface Plan {
  /**
   * Inputs not named keep the values of the run before. Resolves with the outputs named in `read`; those named in `into`
   * fill parts of storage, one behind the other from their first element on, without passing through the host.
   */
  run(inputs: PlanInputs, read?: readonly string[], into?: Readonly<Record<string, readonly StorageRange[]>>): Promise<PlanOutputs>;
  /**
   * Runs once, operation by operation, and throws `not-finite` at the first that makes a NaN or an infinity, or is given one:
   * with its name, the tensor and its shape, and the element. Slow (everything is read back), and it changes storage as a run
   * does up to there; for looking into a step whose gradient norm or loss was not finite.
   */
  assertFinite(inputs: PlanInputs): Promise<void>;
  memory(): PlanMemory;
  /** Kernel launches in one run. */
  readonly dispatches: number;
  dispose(): void;
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Runs graphs. An operation is named and typed in `ops/`, apart from any engine's code, so that a model
 * written once runs on WebGPU (float32) and on the float64 reference, and on engines still to come.
 */
export interface Engine {
  readonly name: string;
  readonly precision: 'f32' | 'f64';
  createStorage(name: string, length: number, dtype?: DType): Storage;
  compile(graph: Graph): Promise<Plan>;
  dispose(): void;
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void;
}
