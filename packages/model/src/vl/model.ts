/** @file A vision-language model on an engine: weights, adapters, scoring, gradients and updates. */
import { add, type AdamWHyper, type Engine, Graph, HYPER_LENGTH, packHyper, type ParameterStore, type Plan, type PlanInputs, ropeTable, type Storage, type StorageRange, type Tensor, type Weight } from '@trimpi/runtime';
import { requireInteger, requireLength } from '../checks.ts';
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { LoraAdapter } from '../lora/adapter.ts';
import type { LoraConfig } from '../lora/config.ts';
import type { Adapter } from '../lora/peft-files.ts';
import type { QuantisationOptions } from '../quant/rows.ts';
import type { GridThw } from '../rope-index.ts';
import type { Checkpoint } from '../safetensors/checkpoint.ts';
import type { TensorData } from '../safetensors/writer.ts';
import { type BatchImage, featureLength, packFeatures, type PackedBatch, type PixelImage, storedImages, type StoredFeatures } from './batch.ts';
import { cutFeatures, encoderInputs, featureNames, recordEncoder } from './encode.ts';
import { PlanCache } from './plan-cache.ts';
import { batchInputs, type BatchShape, type ReadyPlan, recordBatch, shapeOf } from './plans.ts';
import { headName, type Observer, type Parameters, textFrequencies, visionFrequencies } from './towers.ts';
import { type Merge, ModelWeights } from './weights.ts';

export interface ModelOptions {
  /** Positions that can occur, of tokens; the rotary table is that long. Default: the smaller of the config's and 8192. */
  readonly maxPositions?: number;
  /** Rows or columns of patches that an image can have (an image of more is refused); the rotary table of the tower is that long. Default 512. */
  readonly maxPatchRows?: number;
  /** Keeps the matrices in 4, 8 or 16 bits (frozen: train an adapter); the embedding table and the head in at least 8, norms and biases in f32. */
  readonly quantise?: QuantisationOptions;
  /** Computes text layers again in the backward pass instead of keeping their activations. Default false. */
  readonly checkpointing?: boolean;
  /** Bytes that plans of shapes seen before may hold, besides the one in use. Default 512 MiB. */
  readonly planBytes?: number;
  /** Logits that exist at once, in elements; a larger vocabulary is gone through in chunks. Default 32 million (128 MiB). */
  readonly headElements?: number;
}

export interface ScoreOptions {
  /** Which adapter is on; none by default. */
  readonly adapter?: string;
  /** Logits are divided by it; above 0. Default 1. */
  readonly temperature?: number;
}

/** Log-probability and entropy (nats) of each predicted token of a batch, in the order of its `places`. */
export interface Scores {
  /** In the precision of the engine. */
  readonly logp: Float32Array | Float64Array;
  readonly entropy: Float32Array | Float64Array;
}

/** Which weights an update changes. */
export type Trainable = 'text' | 'vision' | { readonly adapter: string };

export class VisionLanguageModel {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly text: ParameterStore;
  readonly vision: ParameterStore;
  readonly adapters = new Map<string, LoraAdapter>();
  readonly checkpointing: boolean;
  readonly headElements: number;
  readonly #weights: ModelWeights;
  readonly #textTable: { readonly storage: Storage; readonly rows: number };
  readonly #visionTable: { readonly storage: Storage; readonly rows: number };
  readonly #plans: PlanCache<ReadyPlan>;
  readonly #onForget = new Set<() => void>();

  constructor(engine: Engine, config: ModelConfig, options: ModelOptions = {}) {
    this.engine = engine;
    this.config = config;
    this.checkpointing = options.checkpointing ?? false;
    this.headElements = options.headElements ?? 2 ** 25;
    this.#plans = new PlanCache(options.planBytes ?? 2 ** 29);
    this.#weights = new ModelWeights(engine, config, options.quantise);
    this.text = this.#weights.text;
    this.vision = this.#weights.vision;
    const { maxPositions = Math.min(config.maxPositionEmbeddings, 8192), maxPatchRows = 512 } = options;
    requireInteger('maxPositions', maxPositions, 'Say how many positions tokens can have, or leave it out.');
    requireInteger('maxPatchRows', maxPatchRows, 'Say how many rows of patches an image can have, or leave it out.');
    const table = (name: string, rows: number, frequencies: number[]) => {
      const storage = engine.createStorage(name, rows * frequencies.length * 2);
      storage.write(ropeTable(rows, frequencies));
      return { storage, rows };
    };
    this.#textTable = table('rotary.text', maxPositions, textFrequencies(config));
    this.#visionTable = table('rotary.vision', maxPatchRows, visionFrequencies(config));
  }

  /** A parameter in a graph; those of the vision tower are `visual.*`. */
  parameter(graph: Graph, name: string): Tensor {
    return this.#weights.parameter(graph, name);
  }

  /** A matrix of a projection, the embedding table or the head; quantised when the model is. */
  weight(graph: Graph, name: string): Weight {
    return this.#weights.weight(graph, name);
  }

  /** Everything that the text tower is computed with in a graph. */
  parameters(graph: Graph, adapter?: LoraAdapter, dropoutKey?: Tensor): Parameters {
    return { tensor: (name) => this.parameter(graph, name), weight: (name) => this.weight(graph, name), factors: (projection) => adapter?.factors(graph, projection, dropoutKey) };
  }

  textRotary(graph: Graph): Tensor {
    return graph.view(this.#textTable.storage, 0, [this.#textTable.rows, this.config.headDim / 2, 2]);
  }

  visionRotary(graph: Graph): Tensor {
    return graph.view(this.#visionTable.storage, 0, [this.#visionTable.rows, this.config.vision.headDim / 2, 2]);
  }

  // ---- weights

  /** Loads every tensor. Throws ModelError naming a tensor that is missing, too many, or of another shape, or a head that is not the table it is tied to, before anything is changed. */
  async load(checkpoint: Checkpoint): Promise<void> {
    await this.#weights.load(checkpoint);
  }

  /** Normal weights of `initializerRange` (or as `std` says by tensor name), norms one, biases zero: a function of the seed. */
  initialise(seed: number, std: (tensor: string, shape: readonly number[]) => number = () => this.config.initializerRange): void {
    this.#weights.initialise(seed, std);
  }

  /** Every tensor under its in-memory name, in `dtype` (default F32); with an adapter, merged into the weights. */
  async tensors({ merge, from = 'values', dtype = 'F32' }: { readonly merge?: string; readonly from?: 'values' | 'gradients'; readonly dtype?: 'F32' | 'F16' | 'BF16' } = {}): Promise<Map<string, TensorData>> {
    return this.#weights.tensors({ merge: merge === undefined ? undefined : await this.#merger(merge), from, dtype });
  }

  /** Puts an adapter into the weights; do not wear it as well. What it replaces is kept (in the memory of the host) for `unmerge`, until the adapter is removed. */
  async merge(adapter: string): Promise<void> {
    await this.#weights.merge(adapter, await this.#merger(adapter));
  }

  /** Takes the adapter merged last out again: the weights have the bits they had before. */
  unmerge(adapter: string): void {
    this.#weights.unmerge(adapter);
  }

  async #merger(name: string): Promise<Merge> {
    const adapter = this.adapter(name);
    if (this.config.tieWordEmbeddings && adapter.targets.some((t) => t.name === 'lm_head')) {
      throw new ModelError('unsupported', { argument: 'adapter', value: name, message: 'changes the head, which is also the embedding table of this model', remedy: 'Keep the adapter beside the weights, or leave lm_head out of targetModules.' });
    }
    const merge = await adapter.merger();
    return (tensor, weight) => (tensor.endsWith('.weight') ? merge(tensor.slice(0, -'.weight'.length), weight) : undefined);
  }

  /**
   * Takes over the weights of another model of this architecture, which holds them whole, rounded where this one is quantised;
   * with `adapter`, only that adapter's, which both have on with the same targets, ranks and scales.
   */
  async copyFrom(other: VisionLanguageModel, { adapter }: Pick<ScoreOptions, 'adapter'> = {}): Promise<void> {
    if (adapter !== undefined) {
      const [own, theirs] = [this.adapter(adapter), other.adapter(adapter)];
      await Promise.all([own.ready, theirs.ready]);
      const kind = (a: LoraAdapter) => JSON.stringify([a.config.useDora, a.targets.map(({ name, r, scaling }) => [name, r, scaling])]);
      if (kind(own) !== kind(theirs)) throw new ModelError('invalid-adapter', { argument: 'copyFrom', value: adapter, message: 'has other targets, ranks or scales on the other model', remedy: 'Put it on both with the same config.' });
      own.store.values.write(Float32Array.from(await theirs.store.values.read()));
      return;
    }
    this.#weights.take(await other.tensors());
  }

  // ---- adapters

  /** Puts a fresh adapter on: A random by `seed`, B zero. */
  addAdapter(name: string, config: LoraConfig, seed: number): LoraAdapter {
    const own = this.#attach(name, config, (adapter) => adapter.initialise(seed));
    if (config.useDora) own.ready = reported(own.initialiseMagnitudes(this.engine, (graph, projection) => this.weight(graph, this.#weightName(projection))));
    return own;
  }

  /** Puts on an adapter that was read from PEFT's files. Throws `invalid-adapter` for one that does not fit: it is not on then. */
  loadAdapter(name: string, adapter: Adapter): LoraAdapter {
    const own = this.#attach(name, adapter.config, (fresh) => fresh.write(adapter.weights));
    if (adapter.baseWeights !== undefined) own.ready = reported(this.#checkBase(name, adapter.baseWeights));
    return own;
  }

  /** Rejects when the weights that an adapter was trained on are not those of this model. */
  async #checkBase(name: string, weights: ReadonlyMap<string, Float32Array>): Promise<void> {
    for (const [module, theirs] of weights) {
      if (!(await this.#weights.holds(this.#weightName(module), theirs))) {
        throw new ModelError('invalid-adapter', { argument: `${name}: ${module}`, value: theirs.length, message: 'was trained on other weights than those of this model', remedy: 'Load the base model that the adapter was trained on.' });
      }
    }
  }

  /** Name of a projection's weight, for `weight`; adapters know projections without the tower. */
  #weightName(projection: string): string {
    if (projection === 'lm_head') return headName(this.config);
    return `${projection.startsWith('layers.') ? '' : 'visual.'}${projection}.weight`;
  }

  /** Puts on an adapter once it is filled; nothing of it stays when that fails. */
  #attach(name: string, config: LoraConfig, fill: (adapter: LoraAdapter) => void): LoraAdapter {
    if (this.adapters.has(name)) throw new ModelError('invalid-input', { argument: 'adapter', value: name, message: 'is there already', remedy: 'Remove it first, or take another name.' });
    const adapter = new LoraAdapter(this.engine, this.config, name, config);
    try {
      fill(adapter);
    } catch (error) {
      adapter.dispose();
      throw error;
    }
    this.adapters.set(name, adapter);
    return adapter;
  }

  adapter(name: string): LoraAdapter {
    const a = this.adapters.get(name);
    if (a === undefined) throw new ModelError('not-found', { argument: 'adapter', value: name, message: 'is not on this model', remedy: `Known: ${[...this.adapters.keys()].join(', ') || 'none'}.` });
    return a;
  }

  removeAdapter(name: string): void {
    this.adapter(name).dispose();
    this.adapters.delete(name);
    this.#weights.keepMerged(name);
    this.#forgetPlans();
  }

  /** Chooses what `accumulate` computes gradients of and `step` updates; moments begin at zero. */
  setTrainable(...what: Trainable[]): void {
    const adapters = new Set(what.flatMap((w) => (typeof w === 'object' ? [w.adapter] : [])));
    for (const name of adapters) this.adapter(name);
    if (what.includes('text') || what.includes('vision')) this.#weights.refuseQuantised('setTrainable');
    this.text.setTrainable(what.includes('text'));
    this.vision.setTrainable(what.includes('vision'));
    for (const [name, a] of this.adapters) a.store.setTrainable(adapters.has(name));
    this.#forgetPlans();
  }

  /** The stores that are trained now. */
  get trainableStores(): ParameterStore[] {
    return [this.text, this.vision, ...[...this.adapters.values()].map((a) => a.store)].filter((s) => s.trainable);
  }

  // ---- running

  /** Log-probabilities of a batch's predicted tokens. */
  async score(batch: PackedBatch, options: ScoreOptions = {}): Promise<Scores> {
    return this.#run(batch, options, undefined, undefined);
  }

  /**
   * Forward and backward: adds d(sum dLogp * logp + dEntropy * entropy) to the gradients of what is trainable.
   * @param options.dropoutKey What an adapter with dropout draws its random numbers from: another pair for every step.
   * @param dLogp dLoss / dlog-probability of each predicted token, in the order of `batch.places`.
   */
  async accumulate(batch: PackedBatch, dLogp: ArrayLike<number>, options: ScoreOptions & { readonly dEntropy?: ArrayLike<number>; readonly dropoutKey?: readonly [number, number] } = {}): Promise<Scores> {
    this.#requireTrainable('accumulate');
    const each = 'Give one for every predicted token.';
    requireLength('dLogp', dLogp, batch.targets.length, each);
    if (options.dEntropy !== undefined) requireLength('dEntropy', options.dEntropy, batch.targets.length, each);
    const dropout = options.adapter === undefined ? 0 : this.adapter(options.adapter).config.loraDropout;
    if (dropout > 0 && options.dropoutKey === undefined) throw new ModelError('invalid-input', { argument: 'dropoutKey', value: null, message: `is missing: the adapter drops ${dropout} of its inputs`, remedy: 'Give two numbers that are another pair for every step, such as [seed, step].' });
    return this.#run(batch, options, dLogp, options.dEntropy, dropout > 0 ? options.dropoutKey : undefined);
  }

  /** One AdamW update of everything trainable; gradients are zero after. Returns the norm of the whole (scaled) gradient before clipping; where it is not finite nothing is updated. */
  async step(hyper: AdamWHyper): Promise<number> {
    this.#requireTrainable('step');
    const { plan } = await this.#plan('step', async () => {
      const g = new Graph();
      const input = g.input('hyper', [HYPER_LENGTH]);
      const norm2 = this.trainableStores.map((s) => s.recordSquaredNorm(g)).reduce((a, b) => add(a, b));
      for (const s of this.trainableStores) s.recordAdamW(g, input, norm2);
      g.output('norm2', norm2);
      return { graph: g, shape: NO_SHAPE };
    });
    const { norm2 } = await plan.run({ hyper: packHyper(hyper) }, ['norm2']);
    return Math.sqrt(norm2![0]!) * Math.abs(hyper.gradScale);
  }

  #requireTrainable(argument: string): void {
    if (this.trainableStores.length === 0) throw new ModelError('invalid-input', { argument, value: 0, message: 'has nothing to train', remedy: 'Call setTrainable first.' });
  }

  /** Features of images through the (frozen) tower: for each image [cells, text width], in raster order of cells; the levels of DeepStack, if any, behind them. */
  async encodeImages(images: readonly PixelImage[], options: Pick<ScoreOptions, 'adapter'> = {}): Promise<(BatchImage & { readonly features: Float32Array })[]> {
    if (images.length === 0) return [];
    const { plan, data, names } = await this.#encoder(images, options);
    return cutFeatures(this.config, images, await plan.run(data, names));
  }

  /**
   * The same into storage of the engine (`featureLength` elements from `offset` on), without a copy on the host: the images
   * returned are those of a batch or a prompt, as long as the storage is there.
   */
  async encodeInto(storage: Storage, images: readonly PixelImage[], offset = 0, options: Pick<ScoreOptions, 'adapter'> = {}): Promise<(BatchImage & { readonly features: StoredFeatures })[]> {
    const grids = images.map((i) => i.gridThw);
    const length = featureLength(this.config, grids);
    if (!(Number.isInteger(offset) && offset >= 0) || offset + length > storage.length) throw new ModelError('invalid-input', { argument: 'storage', value: storage.length, message: `has no room for ${length} elements at ${offset}`, remedy: 'Create storage of featureLength elements.' });
    const stored = storedImages(this.config, grids, storage, offset);
    if (images.length === 0) return stored;
    const { plan, data, names } = await this.#encoder(images, options);
    const ranges = packFeatures(this.config, stored) as StorageRange[][];
    await plan.run(data, [], Object.fromEntries(names.map((name, k) => [name, ranges[k]!])));
    return stored;
  }

  async #encoder(images: readonly PixelImage[], { adapter: name }: Pick<ScoreOptions, 'adapter'>): Promise<{ plan: Plan; data: PlanInputs; names: readonly string[] }> {
    const adapter = name === undefined ? undefined : this.adapter(name);
    await adapter?.ready;
    this.#checkPatches(images.map((i) => i.gridThw));
    const { cells, inputs: data } = encoderInputs(this.config, images);
    const { inputs, plan } = await this.#plan(`vision ${cells} ${name ?? ''}`, async () => ({ graph: recordEncoder(this, cells, adapter), shape: NO_SHAPE }));
    return { plan, data: Object.fromEntries(Object.entries(data).filter(([input]) => inputs.has(input))), names: featureNames(this.config) };
  }

  /** Runs a batch and returns any intermediate results by name, for tests and inspection (see `Observer` in `towers.ts`). */
  async inspect(batch: PackedBatch, names: readonly string[], options: ScoreOptions = {}): Promise<Record<string, Float32Array>> {
    if (options.adapter !== undefined) await this.adapter(options.adapter).ready;
    this.checkBatch(batch);
    const shape = shapeOf(batch, this.config.vision.spatialMergeSize);
    const observe: Observer = (name, value) => value.graph.output(name, value);
    const graph = recordBatch(this, shape, { adapter: options.adapter === undefined ? undefined : this.adapter(options.adapter), temperature: options.temperature ?? 1, backward: false, entropyGradient: false, observe, logits: true });
    const plan = await this.engine.compile(graph);
    const out = await plan.run(batchInputs(batch, shape, new Set(graph.inputs.keys())), names);
    plan.dispose();
    return Object.fromEntries(Object.entries(out).map(([k, v]) => [k, Float32Array.from(v)]));
  }

  /** Throws `invalid-input` for positions or patches beyond the rotary tables: a device takes the last row for them. */
  checkBatch({ positions, vision }: PackedBatch): void {
    const most = positions.reduce((a, b) => Math.max(a, b), 0);
    if (most >= this.#textTable.rows) throw new ModelError('invalid-input', { argument: 'batch.positions', value: most, message: `exceeds the ${this.#textTable.rows} positions of this model`, remedy: 'Create the model with a larger maxPositions.' });
    if (vision !== undefined && vision.features === undefined) this.#checkPatches(vision.grids);
  }

  #checkPatches(grids: readonly GridThw[]): void {
    const { rows } = this.#visionTable;
    const i = grids.findIndex(([, h, w]) => Math.max(h, w) > rows);
    const grid = grids[i];
    if (grid !== undefined) throw new ModelError('invalid-input', { argument: `images[${i}]`, value: [...grid], message: `has ${grid[1]} x ${grid[2]} patches, more than the ${rows} rows or columns of this model`, remedy: 'Scale it down, or create the model with a larger maxPatchRows.' });
  }

  /** Calls back once when plans recorded so far are given up (adapters change, the model is disposed), unless what this returns is called before. */
  onForget(callback: () => void): () => void {
    this.#onForget.add(callback);
    return () => this.#onForget.delete(callback);
  }

  dispose(): void {
    this.#forgetPlans();
    this.#weights.dispose();
    for (const a of this.adapters.values()) a.dispose();
    this.adapters.clear();
    this.#textTable.storage.dispose();
    this.#visionTable.storage.dispose();
  }

  async #run(batch: PackedBatch, options: ScoreOptions, dLogp: ArrayLike<number> | undefined, dEntropy: ArrayLike<number> | undefined, dropoutKey?: readonly [number, number]): Promise<Scores> {
    if (options.adapter !== undefined) await this.adapter(options.adapter).ready;
    this.checkBatch(batch);
    const shape = shapeOf(batch, this.config.vision.spatialMergeSize);
    const temperature = options.temperature ?? 1;
    const key = `batch ${JSON.stringify(shape)} ${options.adapter ?? ''} ${temperature} ${dLogp === undefined ? '' : dEntropy === undefined ? 'backward' : 'backward+entropy'}`;
    const { plan, inputs } = await this.#plan(key, async () => ({
      graph: recordBatch(this, shape, {
        adapter: options.adapter === undefined ? undefined : this.adapter(options.adapter),
        temperature,
        backward: dLogp !== undefined,
        entropyGradient: dEntropy !== undefined,
      }),
      shape,
    }));
    const data = batchInputs(batch, shape, inputs);
    const seed = (values: ArrayLike<number>) => {
      const out = new Float32Array(shape.targets);
      out.set(values);
      return out;
    };
    if (dLogp !== undefined) data['dLogp'] = seed(dLogp);
    if (dEntropy !== undefined) data['dEntropy'] = seed(dEntropy);
    if (dropoutKey !== undefined) data['dropoutKey'] = Uint32Array.from(dropoutKey);
    const out = await plan.run(data, ['logp', 'entropy']);
    const cut = (name: string) => out[name]!.slice(0, batch.targets.length) as Float32Array | Float64Array;
    return { logp: cut('logp'), entropy: cut('entropy') };
  }

  #plan(key: string, record: () => Promise<{ graph: Graph; shape: BatchShape }>): Promise<ReadyPlan> {
    return this.#plans.get(key, async () => {
      const { graph, shape } = await record();
      return { plan: await this.engine.compile(graph), inputs: new Set(graph.inputs.keys()), shape };
    });
  }

  #forgetPlans(): void {
    this.#plans.clear();
    const waiting = [...this.#onForget];
    this.#onForget.clear();
    for (const callback of waiting) callback();
  }
}

/** A promise whose rejection is for those who await it: it does not end Node when nobody does yet. */
function reported(work: Promise<void>): Promise<void> {
  work.catch(() => undefined);
  return work;
}

const NO_SHAPE: BatchShape = { tokens: 0, targets: 0, vision: 'none', patches: 0, cells: 0 };
