import type { Storage } from './engine.ts';
import { RuntimeError } from './errors.ts';
import type { OpAttributes, OpName } from './ops/types.ts';
import { describe, type DType, type Shape, sizeOf, type Tensor } from './tensor.ts';

/** One recorded operation. */
export interface Node<K extends OpName = OpName> {
  readonly op: K;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attributes: OpAttributes[K];
}

/** The node as one of an operation, or undefined when it is of another. */
export function nodeOf<K extends OpName>(node: Node, op: K): Node<K> | undefined {
  return node.op === op ? (node as unknown as Node<K>) : undefined;
}

export interface OutputSpec {
  readonly shape: Shape;
  readonly dtype?: DType;
  readonly name?: string;
}

/**
 * A recorded computation with static shapes. Operations run in the order in which they were recorded; those that
 * write to storage (gradients, caches, optimiser state) do so at their place in that order.
 */
export class Graph {
  readonly nodes: Node[] = [];
  readonly inputs = new Map<string, Tensor>();
  readonly outputs = new Map<string, Tensor>();
  /** Stretches of nodes whose results are computed again in the backward pass (see `checkpoint`). */
  readonly checkpoints: { readonly start: number; readonly end: number }[] = [];
  #nextId = 0;

  /** A tensor that the caller fills before each run. */
  input(name: string, shape: Shape, dtype: DType = 'f32'): Tensor {
    if (this.inputs.has(name)) throw new RuntimeError('input', name, 'is already an input of this graph.', 'Give each input its own name.');
    const t = this.#tensor({ kind: 'input', shape, dtype, name });
    this.inputs.set(name, t);
    return t;
  }

  /** A view of persistent memory; with `grad`, a trainable parameter. */
  view(storage: Storage, offset: number, shape: Shape, name = storage.name, grad?: Tensor): Tensor {
    if (offset < 0 || offset + sizeOf(shape) > storage.length) {
      throw new RuntimeError('shape', name, `[${shape.join(', ')}] at ${offset} leaves its storage of ${storage.length} elements.`, 'Check offset and shape.');
    }
    return this.#tensor({ kind: 'storage', shape, dtype: storage.dtype, name, storage, offset, ...(grad === undefined ? {} : { grad }) });
  }

  /** The same elements under another shape. */
  reshape(t: Tensor, shape: Shape): Tensor {
    if (sizeOf(shape) !== sizeOf(t.shape)) throw new RuntimeError('shape', t.name, `[${t.shape.join(', ')}] has not as many elements as [${shape.join(', ')}].`, 'Reshape keeps the number of elements.');
    return { ...t, shape };
  }

  /** Records an operation whose results are new tensors. */
  emit<K extends OpName>(op: K, inputs: readonly Tensor[], attributes: OpAttributes[K], outputs: readonly OutputSpec[]): Tensor[] {
    this.#own(op, inputs);
    const made = outputs.map((o) => this.#tensor({ kind: 'intermediate', shape: o.shape, dtype: o.dtype ?? 'f32', name: o.name ?? op }));
    this.nodes.push({ op, inputs, outputs: made, attributes });
    return made;
  }

  /** Records an operation that writes into tensors which exist already (storage). */
  emitInto<K extends OpName>(op: K, inputs: readonly Tensor[], attributes: OpAttributes[K], targets: readonly Tensor[]): void {
    this.#own(op, inputs);
    this.#own(op, targets);
    this.nodes.push({ op, inputs, outputs: targets, attributes });
  }

  /** Tensors are numbered graph by graph: one of another graph would be taken for one of this. */
  #own(what: string, tensors: readonly Tensor[]): void {
    const foreign = tensors.find((t) => t.graph !== this);
    if (foreign !== undefined) throw new RuntimeError('input', what, `is given ${describe(foreign)} of another graph.`, 'Record everything in one graph; parameters and storage have a view in each.');
  }

  /** Working memory of one operation, to be listed among the targets of `emitInto`. */
  scratch(shape: Shape): Tensor {
    return this.#tensor({ kind: 'intermediate', shape, dtype: 'f32', name: 'scratch' });
  }

  /**
   * Records `body` so that of its results only those used outside live until the backward pass, which computes the others
   * again (activation checkpointing, arXiv 1604.06174). Not to be nested; the body may not write to storage.
   */
  checkpoint<T>(body: () => T): T {
    const start = this.nodes.length;
    const result = body();
    const writer = this.nodes.slice(start).find((n) => n.outputs.some((t) => t.kind === 'storage'));
    if (writer !== undefined) throw new RuntimeError('autograd', writer.op, 'writes to storage inside a checkpoint.', 'Keep it out of the checkpointed part.');
    this.checkpoints.push({ start, end: this.nodes.length });
    return result;
  }

  /** Records a node again on other inputs; its results are new tensors. */
  repeat(node: Node, inputs: readonly Tensor[]): Node {
    this.emit(node.op, inputs, node.attributes, node.outputs);
    return this.nodes[this.nodes.length - 1]!;
  }

  /** Marks a tensor to be read after a run under this name. */
  output(name: string, t: Tensor): void {
    this.#own(`output ${name}`, [t]);
    this.outputs.set(name, t);
  }

  #tensor(fields: Omit<Tensor, 'id' | 'graph'>): Tensor {
    return { ...fields, id: this.#nextId++, graph: this };
  }
}
