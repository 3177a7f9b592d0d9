import type { Engine, HostArray, Storage } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { Graph } from '../graph.ts';
import { adamw, adamw8bit, sgd, type SgdOptions, sumSquares } from '../ops/optimizer.ts';
import { type DType, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { BLOCK_8BIT, dynamicMap } from './dynamic-map.ts';

export interface ParameterSpec {
  readonly name: string;
  readonly shape: Shape;
  /** Whether AdamW's decay applies (matrices yes; norms and biases no, as in transformers). Default: more than one axis. */
  readonly decay?: boolean;
}

/** What a trainable store keeps state for. */
export type Optimizer = 'adamw' | 'adamw8bit' | 'sgd';
/** The flat storages of a store. Those of the optimiser: `m`, `v` (adamw); `state1`, `state2`, `absmax` (adamw8bit, names of bitsandbytes); `momentum` (sgd). */
export type StorePart = 'values' | 'gradients' | 'm' | 'v' | 'state1' | 'state2' | 'absmax' | 'momentum';
/** Those with an element for each of the parameters. */
type ElementPart = Exclude<StorePart, 'state1' | 'state2' | 'absmax'>;

/** Storages of each optimiser's state for `n` parameters. */
function stateOf(optimizer: Optimizer, n: number): { readonly part: StorePart; readonly length: number; readonly dtype: DType }[] {
  switch (optimizer) {
    case 'adamw':
      return [{ part: 'm', length: n, dtype: 'f32' }, { part: 'v', length: n, dtype: 'f32' }];
    case 'adamw8bit':
      return [{ part: 'state1', length: n / 4, dtype: 'u32' }, { part: 'state2', length: n / 4, dtype: 'u32' }, { part: 'absmax', length: 2 * Math.ceil(n / BLOCK_8BIT), dtype: 'f32' }];
    case 'sgd':
      return [{ part: 'momentum', length: n, dtype: 'f32' }];
    default:
      return optimizer satisfies never;
  }
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
 * A trainable store also holds gradients and the state of its optimiser in the same layout; decayed parameters come first.
 */
export class ParameterStore {
  readonly values: Storage;
  readonly length: number;
  /** Elements of the first parameters, to which weight decay applies. */
  readonly decayed: number;
  readonly #entries = new Map<string, Entry>();
  readonly #engine: Engine;
  #training: { readonly optimizer: Optimizer; readonly parts: ReadonlyMap<StorePart | 'qmap', Storage> } | undefined;

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

  /** Makes room for gradients and the optimiser's state (zero), or gives it back. Graphs recorded before see no change: record again. */
  setTrainable(trainable: boolean, optimizer: Optimizer = 'adamw'): void {
    if (trainable ? this.#training?.optimizer === optimizer : this.#training === undefined) return;
    for (const s of this.#training?.parts.values() ?? []) s.dispose();
    this.#training = undefined;
    if (!trainable) return;
    const parts = new Map<StorePart | 'qmap', Storage>();
    for (const { part, length, dtype } of [{ part: 'gradients', length: this.length, dtype: 'f32' } as const, ...stateOf(optimizer, this.length)]) {
      parts.set(part, this.#engine.createStorage(`${this.values.name}.${part}`, length, dtype));
    }
    if (optimizer === 'adamw8bit') {
      const qmap = this.#engine.createStorage(`${this.values.name}.qmap`, 512);
      qmap.write(dynamicMap(true));
      qmap.write(dynamicMap(false), 256);
      parts.set('qmap', qmap);
    }
    this.#training = { optimizer, parts };
  }

  /** What an optimiser changes beside the values, to be saved and put back with them; empty for a frozen store. */
  get stateParts(): StorePart[] {
    return this.#training === undefined ? [] : stateOf(this.#training.optimizer, this.length).map(({ part }) => part);
  }

  /** One of the flat storages: values, or gradients and optimiser state of a trainable store. */
  storage(of: StorePart): Storage {
    return of === 'values' ? this.values : this.#part(of);
  }

  #part(of: StorePart | 'qmap'): Storage {
    if (this.#training === undefined) throw new RuntimeError('input', this.values.name, `has no ${of}: it is frozen.`, 'Call setTrainable(true) first.');
    const storage = this.#training.parts.get(of);
    if (storage === undefined) throw new RuntimeError('input', this.values.name, `has no ${of}: it was made trainable for ${this.#training.optimizer}.`, 'Name the optimiser in setTrainable(true, optimizer).');
    return storage;
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
    const grad = this.#training === undefined ? undefined : graph.view(this.#part('gradients'), offset, spec.shape, `${name}.grad`);
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

  async read(name: string, from: ElementPart = 'values'): Promise<HostArray> {
    const { spec, offset } = this.#entry(name);
    return this.storage(from).read(offset, sizeOf(spec.shape));
  }

  /** Records the squared norm of the store's gradient, f32 [1]. */
  recordSquaredNorm(graph: Graph): Tensor {
    return sumSquares(this.#whole(graph, 'gradients'));
  }

  /**
   * Records clipping and one AdamW update of everything in the store; `hyper` is an input f32 [HYPER_LENGTH] (see `packHyper`).
   * @param norm2 The squared norm to clip and to judge by, f32 [1]: of several stores that are one model, the sum of `recordSquaredNorm` over them. Default: the store's own.
   * @returns The squared norm. Where it is not finite nothing is updated.
   */
  recordAdamW(graph: Graph, hyper: Tensor, norm2 = this.recordSquaredNorm(graph)): Tensor {
    adamw(graph, this.#whole(graph, 'values'), this.#whole(graph, 'gradients'), this.#whole(graph, 'm'), this.#whole(graph, 'v'), hyper, norm2, this.decayed);
    return norm2;
  }

  /** As `recordAdamW` with moments in 8 bits, a quarter of the memory; for a store made trainable for 'adamw8bit'. Blocks of 256 run across parameters. */
  recordAdamW8bit(graph: Graph, hyper: Tensor, norm2 = this.recordSquaredNorm(graph)): Tensor {
    const [state1, state2, absmax, qmap] = (['state1', 'state2', 'absmax', 'qmap'] as const).map((of) => this.#whole(graph, of)) as [Tensor, Tensor, Tensor, Tensor];
    adamw8bit(graph, this.#whole(graph, 'values'), this.#whole(graph, 'gradients'), { state1, state2, absmax, qmap }, hyper, norm2, this.decayed);
    return norm2;
  }

  /** Records clipping and one update of SGD; `hyper` is an input f32 [SGD_HYPER_LENGTH] (see `packSgdHyper`); for a store made trainable for 'sgd'. `norm2` and the result as of `recordAdamW`. */
  recordSGD(graph: Graph, hyper: Tensor, options: SgdOptions = {}, norm2 = this.recordSquaredNorm(graph)): Tensor {
    const momentum = this.#whole(graph, 'momentum');
    sgd(graph, this.#whole(graph, 'values'), this.#whole(graph, 'gradients'), momentum, hyper, norm2, this.decayed, options);
    return norm2;
  }

  #whole(graph: Graph, of: StorePart | 'qmap'): Tensor {
    const storage = of === 'values' ? this.values : this.#part(of);
    return graph.view(storage, 0, [storage.length]);
  }

  dispose(): void {
    this.setTrainable(false);
    this.values.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #entry(name: string): Entry {
    const e = this.#entries.get(name);
    if (e === undefined) throw new RuntimeError('input', name, 'is not in this store.', `It has ${this.#entries.size} parameters, such as ${this.names.slice(0, 3).join(', ')}.`);
    return e;
  }
}
