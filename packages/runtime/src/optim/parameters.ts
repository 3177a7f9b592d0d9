import type { Engine, HostArray, Storage } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { Graph } from '../graph.ts';
import { adamw, sumSquares } from '../ops/optimizer.ts';
import { type Shape, sizeOf, type Tensor } from '../tensor.ts';

export interface ParameterSpec {
  readonly name: string;
  readonly shape: Shape;
  /** Whether AdamW's decay applies (matrices yes; norms and biases no, as in transformers). Default: more than one axis. */
  readonly decay?: boolean;
}

/** Every parameter begins at a multiple of this many elements (256 bytes, what a binding's offset needs). */
const ALIGNMENT = 64;

interface Entry {
  readonly spec: ParameterSpec;
  readonly offset: number;
}

/**
 * Named parameters in one flat storage, so that clipping and AdamW are one dispatch each however many there are.
 * Parameters given next to each other stay next to each other in memory when their sizes are multiples of 64.
 * A trainable store also holds gradients and AdamW's moments in the same layout; decayed parameters come first.
 */
export class ParameterStore {
  readonly values: Storage;
  readonly gradients: Storage | undefined;
  readonly m: Storage | undefined;
  readonly v: Storage | undefined;
  readonly length: number;
  /** Elements of the first parameters, to which weight decay applies. */
  readonly decayed: number;
  readonly #entries = new Map<string, Entry>();

  constructor(engine: Engine, name: string, specs: readonly ParameterSpec[], trainable: boolean) {
    const decays = (s: ParameterSpec) => s.decay ?? s.shape.length > 1;
    let offset = 0;
    let decayed = 0;
    for (const group of [specs.filter(decays), specs.filter((s) => !decays(s))]) {
      for (const spec of group) {
        if (this.#entries.has(spec.name)) throw new RuntimeError('input', spec.name, 'is there twice.', 'Give each parameter its own name.');
        this.#entries.set(spec.name, { spec, offset });
        offset += Math.ceil(sizeOf(spec.shape) / ALIGNMENT) * ALIGNMENT;
      }
      if (decayed === 0 && group.some(decays)) decayed = offset;
    }
    this.length = Math.max(offset, ALIGNMENT);
    this.decayed = decayed;
    this.values = engine.createStorage(`${name}.values`, this.length);
    if (trainable) {
      this.gradients = engine.createStorage(`${name}.gradients`, this.length);
      this.m = engine.createStorage(`${name}.m`, this.length);
      this.v = engine.createStorage(`${name}.v`, this.length);
    }
  }

  get names(): string[] {
    return [...this.#entries.keys()];
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  shape(name: string): Shape {
    return this.#entry(name).spec.shape;
  }

  /** The parameter in a graph; trainable when the store is. */
  tensor(graph: Graph, name: string): Tensor {
    const { spec, offset } = this.#entry(name);
    const grad = this.gradients === undefined ? undefined : graph.view(this.gradients, offset, spec.shape, `${name}.grad`);
    return graph.view(this.values, offset, spec.shape, name, grad);
  }

  write(name: string, data: HostArray): void {
    const { spec, offset } = this.#entry(name);
    if (data.length !== sizeOf(spec.shape)) {
      throw new RuntimeError('shape', name, `${data.length} numbers do not fit [${spec.shape.join(', ')}].`, 'Check the tensor that is loaded.');
    }
    this.values.write(data, offset);
  }

  async read(name: string, from: 'values' | 'gradients' | 'm' | 'v' = 'values'): Promise<HostArray> {
    const { spec, offset } = this.#entry(name);
    const storage = this[from];
    if (storage === undefined) throw new RuntimeError('input', name, `has no ${from}: its store is frozen.`, 'Create the store as trainable.');
    return storage.read(offset, sizeOf(spec.shape));
  }

  /** Records clipping and one AdamW update of everything in the store; `hyper` is an input f32 [8] (see `packHyper`). Returns the squared gradient norm. */
  recordAdamW(graph: Graph, hyper: Tensor): Tensor {
    if (this.gradients === undefined || this.m === undefined || this.v === undefined) {
      throw new RuntimeError('input', this.values.name, 'is frozen.', 'Create the store as trainable.');
    }
    const whole = (s: Storage) => graph.view(s, 0, [this.length]);
    const norm2 = sumSquares(whole(this.gradients));
    adamw(graph, whole(this.values), whole(this.gradients), whole(this.m), whole(this.v), hyper, norm2, this.decayed);
    return norm2;
  }

  dispose(): void {
    for (const s of [this.values, this.gradients, this.m, this.v]) s?.dispose();
  }

  #entry(name: string): Entry {
    const e = this.#entries.get(name);
    if (e === undefined) throw new RuntimeError('input', name, 'is not in this store.', `It has ${this.#entries.size} parameters, such as ${this.names.slice(0, 3).join(', ')}.`);
    return e;
  }
}
