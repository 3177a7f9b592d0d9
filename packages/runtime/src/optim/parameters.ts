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
  readonly length: number;
  /** Elements of the first parameters, to which weight decay applies. */
  readonly decayed: number;
  readonly #entries = new Map<string, Entry>();
  readonly #engine: Engine;
  #training: { readonly gradients: Storage; readonly m: Storage; readonly v: Storage } | undefined;

  constructor(engine: Engine, name: string, specs: readonly ParameterSpec[]) {
    this.#engine = engine;
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
  }

  get trainable(): boolean {
    return this.#training !== undefined;
  }

  /** Makes room for gradients and moments (zero), or gives it back. Graphs recorded before see no change: record again. */
  setTrainable(trainable: boolean): void {
    if (trainable === this.trainable) return;
    for (const s of Object.values(this.#training ?? {})) s.dispose();
    const name = this.values.name;
    this.#training = trainable
      ? {
          gradients: this.#engine.createStorage(`${name}.gradients`, this.length),
          m: this.#engine.createStorage(`${name}.m`, this.length),
          v: this.#engine.createStorage(`${name}.v`, this.length),
        }
      : undefined;
  }

  /** One of the flat storages: values, or gradients and moments of a trainable store. */
  storage(of: 'values' | 'gradients' | 'm' | 'v'): Storage {
    if (of === 'values') return this.values;
    if (this.#training === undefined) throw new RuntimeError('input', this.values.name, `has no ${of}: it is frozen.`, 'Call setTrainable(true) first.');
    return this.#training[of];
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
    const grad = this.#training === undefined ? undefined : graph.view(this.#training.gradients, offset, spec.shape, `${name}.grad`);
    return graph.view(this.values, offset, spec.shape, name, grad);
  }

  write(name: string, data: HostArray): void {
    const { spec, offset } = this.#entry(name);
    if (data.length !== sizeOf(spec.shape)) {
      throw new RuntimeError('shape', name, `${data.length} numbers do not fit [${spec.shape.join(', ')}].`, 'Check the tensor that is loaded.');
    }
    this.values.write(data, offset);
  }

  /** Writes part of a parameter: `data` from its element `first` on. */
  writeRows(name: string, first: number, data: HostArray): void {
    const { spec, offset } = this.#entry(name);
    if (first < 0 || first + data.length > sizeOf(spec.shape)) {
      throw new RuntimeError('shape', name, `${data.length} numbers at ${first} leave [${spec.shape.join(', ')}].`, 'Check the tensor that is loaded.');
    }
    this.values.write(data, offset + first);
  }

  async read(name: string, from: 'values' | 'gradients' | 'm' | 'v' = 'values'): Promise<HostArray> {
    const { spec, offset } = this.#entry(name);
    return this.storage(from).read(offset, sizeOf(spec.shape));
  }

  /** Records clipping and one AdamW update of everything in the store; `hyper` is an input f32 [HYPER_LENGTH] (see `packHyper`). Returns the squared gradient norm. */
  recordAdamW(graph: Graph, hyper: Tensor): Tensor {
    const whole = (of: 'values' | 'gradients' | 'm' | 'v') => graph.view(this.storage(of), 0, [this.length]);
    const norm2 = sumSquares(whole('gradients'));
    adamw(graph, whole('values'), whole('gradients'), whole('m'), whole('v'), hyper, norm2, this.decayed);
    return norm2;
  }

  dispose(): void {
    this.setTrainable(false);
    this.values.dispose();
  }

  #entry(name: string): Entry {
    const e = this.#entries.get(name);
    if (e === undefined) throw new RuntimeError('input', name, 'is not in this store.', `It has ${this.#entries.size} parameters, such as ${this.names.slice(0, 3).join(', ')}.`);
    return e;
  }
}
