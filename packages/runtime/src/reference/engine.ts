/** @file The float64 engine: the same operations written as plain loops from their formulas. Slow and exact; tests compare with it, and whole models run on it. */
import type { Engine, HostArray, Plan, PlanInputs, PlanMemory, PlanOutputs, Storage, StorageRange } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { Graph, Node } from '../graph.ts';
import { liveNodes } from '../live.ts';
import type { OpName } from '../ops/types.ts';
import { type DType, sizeOf, type Tensor } from '../tensor.ts';
import { checkInput, checkRanges, isHost } from '../filling.ts';
import { REFERENCE, type ReferenceKernel } from './kernels.ts';

class ReferenceStorage implements Storage {
  readonly name: string;
  readonly length: number;
  readonly dtype: DType;
  readonly data: Float64Array;

  constructor(name: string, length: number, dtype: DType) {
    this.name = name;
    this.length = length;
    this.dtype = dtype;
    this.data = new Float64Array(length);
  }

  write(data: HostArray, offset = 0): void {
    if (offset < 0 || offset + data.length > this.length) {
      throw new RuntimeError('shape', this.name, `${data.length} elements at ${offset} do not fit its ${this.length}.`, 'Write within the storage.');
    }
    this.data.set(data, offset);
  }

  async read(offset = 0, length = this.length - offset): Promise<HostArray> {
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new RuntimeError('shape', this.name, `${length} elements at ${offset} are outside its ${this.length}.`, 'Read within the storage.');
    }
    return this.data.slice(offset, offset + length);
  }

  dispose(): void {}
}

export class ReferenceEngine implements Engine {
  readonly name = 'reference (float64)';
  readonly precision = 'f64';

  createStorage(name: string, length: number, dtype: DType = 'f32'): Storage {
    return new ReferenceStorage(name, length, dtype);
  }

  async compile(graph: Graph): Promise<Plan> {
    return new ReferencePlan(graph);
  }

  dispose(): void {}
}

class ReferencePlan implements Plan {
  readonly dispatches: number;
  readonly #graph: Graph;
  readonly #nodes: readonly Node[];
  readonly #values = new Map<number, Float64Array>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#nodes = liveNodes(graph);
    this.dispatches = this.#nodes.length;
    for (const t of graph.inputs.values()) this.#values.set(t.id, new Float64Array(sizeOf(t.shape)));
  }

  async run(inputs: PlanInputs, read: readonly string[] = [], into: Readonly<Record<string, readonly StorageRange[]>> = {}): Promise<PlanOutputs> {
    for (const [name, data] of Object.entries(inputs)) {
      const t = this.#graph.inputs.get(name);
      if (t === undefined) throw new RuntimeError('input', name, `is not an input of this plan (${[...this.#graph.inputs.keys()].join(', ')}).`, 'Check the name.');
      const values = this.#values.get(t.id)!;
      if (isHost(data)) {
        checkInput(t, data);
        values.set(data);
        continue;
      }
      checkRanges(t, data);
      let at = 0;
      for (const { storage, offset, length } of data) {
        values.set((storage as ReferenceStorage).data.subarray(offset, offset + length), at);
        at += length;
      }
    }
    const locate = (t: Tensor): Float64Array => {
      if (t.kind === 'storage') {
        const s = t.storage as ReferenceStorage;
        return s.data.subarray(t.offset ?? 0, (t.offset ?? 0) + sizeOf(t.shape));
      }
      let v = this.#values.get(t.id);
      if (v === undefined) this.#values.set(t.id, (v = new Float64Array(sizeOf(t.shape))));
      return v;
    };
    for (const node of this.#nodes) {
      (REFERENCE[node.op] as ReferenceKernel<OpName>)(node, node.inputs.map(locate), node.outputs.map(locate));
    }
    const output = (name: string): Tensor => {
      const t = this.#graph.outputs.get(name);
      if (t === undefined) throw new RuntimeError('input', name, 'is not an output of this plan.', 'Check the name.');
      return t;
    };
    for (const [name, ranges] of Object.entries(into)) {
      const t = output(name);
      checkRanges(t, ranges);
      let from = 0;
      for (const { storage, offset, length } of ranges) {
        (storage as ReferenceStorage).data.set(locate(t).subarray(from, from + length), offset);
        from += length;
      }
    }
    return Object.fromEntries(read.map((name) => [name, locate(output(name)).slice()]));
  }

  memory(): PlanMemory {
    const inputs = [...this.#graph.inputs.values()].reduce((n, t) => n + sizeOf(t.shape) * 8, 0);
    const intermediates = this.#nodes.flatMap((n) => n.outputs).reduce((n, t) => n + (t.kind === 'intermediate' ? sizeOf(t.shape) * 8 : 0), 0);
    return { intermediates, inputs, overhead: 0, total: intermediates + inputs };
  }

  dispose(): void {
    this.#values.clear();
  }
}
