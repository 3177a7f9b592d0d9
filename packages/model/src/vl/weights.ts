/** @file The weights of a model on an engine, by the checkpoint's tensors: whole in stores, or quantised; adapters are merged in and taken out. */
import { type Engine, type Graph, ParameterStore, PhiloxStream, sizeOf, type Tensor, type Weight } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { type QuantisationOptions, resolveQuantisation } from '../quant/rows.ts';
import { QuantisedStore } from '../quant/store.ts';
import type { Checkpoint } from '../safetensors/checkpoint.ts';
import { floatTensor, type TensorData } from '../safetensors/writer.ts';
import { type ParameterPart, quantisedSpecs, textParameters, visionParameters } from './parameters.ts';
import { checkTiedHead, HEAD } from './tied-head.ts';

/** What becomes of a tensor when an adapter is merged in; undefined: it stays as it is. */
export type Merge = (tensor: string, weight: Float32Array) => Float32Array | undefined;

/** A part of a store, which is one tensor of the checkpoint. */
interface Part extends ParameterPart {
  readonly store: ParameterStore;
}

/** A part as it was before an adapter was merged. */
interface Replaced {
  readonly part: Part;
  readonly data: Float32Array;
}

export class ModelWeights {
  readonly text: ParameterStore;
  readonly vision: ParameterStore;
  readonly #config: ModelConfig;
  readonly #quantised: QuantisedStore | undefined;
  readonly #parts: readonly Part[];
  /** What adapters have taken the place of, the last one merged at the end. */
  readonly #merged: { readonly adapter: string; readonly before: readonly Replaced[] }[] = [];

  constructor(engine: Engine, config: ModelConfig, quantise: QuantisationOptions | undefined) {
    const layouts = { text: textParameters(config), vision: visionParameters(config) };
    const quantised = quantise === undefined ? [] : quantisedSpecs(layouts, resolveQuantisation(quantise));
    const names = new Set(quantised.map((q) => q.name));
    this.#config = config;
    this.#quantised = quantised.length === 0 ? undefined : new QuantisedStore(engine, quantised);
    this.text = new ParameterStore(engine, 'text', layouts.text.specs.filter((p) => !names.has(p.name)));
    this.vision = new ParameterStore(engine, 'visual', layouts.vision.specs.filter((p) => !names.has(`visual.${p.name}`)));
    this.#parts = [...layouts.text.parts.map((part) => ({ ...part, store: this.text })), ...layouts.vision.parts.map((part) => ({ ...part, store: this.vision }))];
  }

  /** A parameter in a graph; those of the vision tower are `visual.*`. */
  parameter(graph: Graph, name: string): Tensor {
    return name.startsWith('visual.') ? this.vision.tensor(graph, name.slice('visual.'.length)) : this.text.tensor(graph, name);
  }

  /** A matrix of a projection, the embedding table or the head; quantised when the model is. */
  weight(graph: Graph, name: string): Weight {
    return this.#quantised?.has(name) === true ? this.#quantised.weight(graph, name) : this.parameter(graph, name);
  }

  /** Whether a matrix of the text tower or the head has these values; quantised, whether it is what they become. */
  async holds(name: string, values: Float32Array): Promise<boolean> {
    return this.#quantised?.has(name) === true ? this.#quantised.holds(name, values) : equalValues(await this.text.read(name), values);
  }

  /** @throws ModelError `unsupported` when the weights are quantised. */
  refuseQuantised(what: string): void {
    if (this.#quantised !== undefined) throw new ModelError('unsupported', { argument: what, value: 'quantised', message: 'needs the whole weights, and this model holds quantised ones', remedy: 'Load the checkpoint without quantise, or keep the adapter beside the weights.' });
  }

  /** Loads every tensor. Throws ModelError naming a tensor that is missing, too many, or of another shape, or a head that is not the table it is tied to, before anything is changed. */
  async load(checkpoint: Checkpoint): Promise<void> {
    const known = new Set(this.#parts.map((p) => p.tensor));
    for (const part of this.#parts) {
      if (!checkpoint.has(part.tensor)) throw new ModelError('not-found', { argument: part.tensor, value: null, message: 'is missing from the checkpoint', remedy: 'Use a complete checkpoint of this architecture.' });
      const { shape } = checkpoint.info(part.tensor);
      if (shape.join() !== part.shape.join()) throw new ModelError('invalid-safetensors', { argument: part.tensor, value: [...shape], message: `should have the shape [${part.shape.join(', ')}]`, remedy: 'Use the config.json that belongs to this checkpoint.' });
    }
    const extra = checkpoint.names.find((n) => !known.has(n) && !(this.#config.tieWordEmbeddings && n === HEAD));
    if (extra !== undefined) throw new ModelError('unsupported', { argument: extra, value: null, message: 'is not part of this architecture', remedy: 'Use the config.json that belongs to this checkpoint.' });
    await checkTiedHead(this.#config, checkpoint);
    this.#merged.length = 0;
    for (const part of this.#parts) this.#write(part, await checkpoint.readFloat32(part.tensor));
  }

  /** Normal weights with the standard deviation that `std` says, norms one, biases zero: a function of the seed. */
  initialise(seed: number, std: (tensor: string, shape: readonly number[]) => number): void {
    const random = new PhiloxStream(seed, 0x1417);
    for (const part of this.#parts) {
      const data = new Float32Array(sizeOf(part.shape));
      if (part.tensor.endsWith('.bias')) data.fill(0);
      else if (part.shape.length === 1) data.fill(1);
      else {
        const s = std(part.tensor, part.shape);
        for (let i = 0; i < data.length; i++) data[i] = random.normal() * s;
      }
      this.#write(part, data);
    }
  }

  /** Every tensor under its in-memory name, in `dtype`. Of the gradients: those of the stores that are trained. */
  async tensors({ merge, from, dtype }: { readonly merge: Merge | undefined; readonly from: 'values' | 'gradients'; readonly dtype: 'F32' | 'F16' | 'BF16' }): Promise<Map<string, TensorData>> {
    this.refuseQuantised('tensors');
    const out = new Map<string, TensorData>();
    for (const part of this.#parts) {
      if (from === 'gradients' && !part.store.trainable) continue;
      const data = await this.#read(part, from);
      out.set(part.tensor, floatTensor(merge?.(part.tensor, data) ?? data, part.shape, dtype));
    }
    return out;
  }

  /** Puts every tensor in, as `tensors` gives them. @throws ModelError `invalid-input` for those of another architecture; nothing is changed then. */
  take(tensors: ReadonlyMap<string, TensorData>): void {
    const odd = this.#parts.find((part) => tensors.get(part.tensor)?.shape.join() !== part.shape.join());
    if (odd !== undefined || this.#parts.length !== tensors.size) throw new ModelError('invalid-input', { argument: 'copyFrom', value: odd?.tensor ?? tensors.size, message: 'is of another shape, or missing, in the other model', remedy: 'Make both with the same config.' });
    this.#merged.length = 0;
    for (const part of this.#parts) this.#write(part, new Float32Array(tensors.get(part.tensor)!.data.slice().buffer));
  }

  /** Puts an adapter in and keeps what it replaces. @throws ModelError `invalid-input` when it is merged already. */
  async merge(adapter: string, merge: Merge): Promise<void> {
    this.refuseQuantised('merge');
    if (this.#merged.some((m) => m.adapter === adapter)) throw new ModelError('invalid-input', { argument: 'merge', value: adapter, message: 'is merged already', remedy: 'Unmerge it first.' });
    const before: Replaced[] = [];
    for (const part of this.#parts) {
      const data = await this.#read(part, 'values');
      const merged = merge(part.tensor, data);
      if (merged === undefined) continue;
      before.push({ part, data });
      this.#write(part, merged);
    }
    this.#merged.push({ adapter, before });
  }

  /** Takes the adapter merged last out again. @throws ModelError `invalid-input` for another. */
  unmerge(adapter: string): void {
    const last = this.#merged[this.#merged.length - 1];
    if (last?.adapter !== adapter) {
      throw new ModelError('invalid-input', { argument: 'unmerge', value: adapter, message: last === undefined ? 'is not merged' : `is not the one merged last, which is ${last.adapter}`, remedy: 'Unmerge adapters in the opposite order.' });
    }
    this.#merged.pop();
    for (const { part, data } of last.before) this.#write(part, data);
  }

  /** An adapter that is gone stays in the weights for good; what was merged before it cannot be taken out from under it either. */
  keepMerged(adapter: string): void {
    this.#merged.splice(0, this.#merged.findIndex((m) => m.adapter === adapter) + 1);
  }

  dispose(): void {
    this.text.dispose();
    this.vision.dispose();
    this.#quantised?.dispose();
  }

  async #read(part: Part, from: 'values' | 'gradients'): Promise<Float32Array> {
    const whole = await part.store.read(part.parameter, from);
    const first = part.row * rowLength(part);
    return Float32Array.from(whole.subarray(first, first + sizeOf(part.shape)));
  }

  #write(part: Part, data: Float32Array): void {
    const { store, parameter, row } = part;
    const name = store === this.vision ? `visual.${parameter}` : parameter;
    if (this.#quantised?.has(name) === true) this.#quantised.writeRows(name, row, data);
    else store.writeRows(parameter, row * rowLength(part), data);
  }
}

function rowLength({ shape }: ParameterPart): number {
  return sizeOf(shape) / shape[0]!;
}

function equalValues(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.prototype.every.call(a, (v, i) => v === b[i]);
}
