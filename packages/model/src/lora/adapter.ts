/** @file A low-rank adapter in memory: factors of every adapted projection in one trainable store. */
import { doraNorm, type DropoutOptions, type Engine, Graph, type LoraFactors, ParameterStore, PhiloxStream, type Weight } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import type { LoraConfig } from './config.ts';
import { linearModules } from './modules.ts';
import type { Adapter, LoraWeights } from './peft-files.ts';
import { type LoraTarget, matchTargets, requireLinearTargets } from './targets.ts';
import { allProjections, type FusedProjection } from '../vl/parameters.ts';


interface AdaptedProjection {
  readonly projection: FusedProjection;
  /** Largest rank of its modules; smaller ones are padded with zeros, which stay zero in training. */
  readonly rank: number;
  readonly ranks: readonly number[];
  readonly ends: readonly number[];
  /** 0 for a module of a fused projection that is not adapted. */
  readonly scales: readonly number[];
  /** Tells its dropout apart from that of the others. */
  readonly site: number;
}

export class LoraAdapter {
  readonly name: string;
  readonly config: LoraConfig;
  readonly targets: readonly LoraTarget[];
  readonly store: ParameterStore;
  /**
   * Resolves when everything is in place: a fresh DoRA adapter begins with the row lengths of the weights it is put on. Rejects
   * when that fails, or when the weights are not those it was trained on; every use of the adapter rejects with it, until it is removed.
   */
  ready: Promise<void> = Promise.resolve();
  readonly #projections = new Map<string, AdaptedProjection>();

  /** @throws ModelError `invalid-adapter` when no module matches. */
  constructor(engine: Engine, model: ModelConfig, name: string, config: LoraConfig) {
    this.name = name;
    this.config = config;
    requireLinearTargets(model, config);
    this.targets = matchTargets(linearModules(model), config);
    const byName = new Map(this.targets.map((t) => [t.name, t]));
    for (const projection of allProjections(model)) {
      const own = projection.modules.map((m) => byName.get(m.name));
      const rank = Math.max(0, ...own.map((o) => o?.r ?? 0));
      if (rank === 0) continue;
      let end = 0;
      this.#projections.set(projection.name, {
        projection,
        rank,
        ranks: own.map((o) => o?.r ?? 0),
        ends: projection.modules.map((m) => (end += m.outFeatures)),
        scales: own.map((o) => o?.scaling ?? 0),
        site: this.#projections.size,
      });
    }
    this.store = new ParameterStore(
      engine,
      `lora.${name}`,
      [...this.#projections.values()].flatMap(({ projection, rank, ends }) => [
        { name: `${projection.name}.a`, shape: [rank * projection.modules.length, projection.inFeatures] },
        { name: `${projection.name}.b`, shape: [ends[ends.length - 1]!, rank] },
        ...(config.useDora ? [{ name: `${projection.name}.m`, shape: [ends[ends.length - 1]!], decay: true }] : []),
      ]),
    );
  }

  /** The factors on a projection in a graph, or undefined when it is not adapted. With `dropoutKey` (u32 [2]) its inputs are dropped as the config says. */
  factors(graph: Graph, projection: string, dropoutKey?: DropoutOptions['key']): LoraFactors | undefined {
    const p = this.#projections.get(projection);
    if (p === undefined) return undefined;
    return {
      a: this.store.tensor(graph, `${projection}.a`),
      b: this.store.tensor(graph, `${projection}.b`),
      rank: p.rank,
      ends: p.ends,
      scales: p.scales,
      ...(this.config.useDora ? { magnitude: this.store.tensor(graph, `${projection}.m`) } : {}),
      ...(dropoutKey === undefined || this.config.loraDropout === 0 ? {} : { dropout: { p: this.config.loraDropout, key: dropoutKey, site: p.site } }),
    };
  }

  /** A uniform in +-1/sqrt(in) (kaiming with a = sqrt 5, as PEFT), B zero: a fresh adapter changes nothing. */
  initialise(seed: number): void {
    const random = new PhiloxStream(seed, 0x10ca);
    for (const [name, p] of this.#projections) {
      const { inFeatures, modules } = p.projection;
      const bound = 1 / Math.sqrt(inFeatures);
      const a = new Float32Array(p.rank * modules.length * inFeatures);
      p.ranks.forEach((rank, part) => {
        for (let i = 0; i < rank * inFeatures; i++) a[part * p.rank * inFeatures + i] = (2 * random.next() - 1) * bound;
      });
      this.store.write(`${name}.a`, a);
      this.store.write(`${name}.b`, new Float32Array(p.ends[p.ends.length - 1]! * p.rank));
    }
  }

  /** Sets DoRA's magnitudes to the row lengths of the weights with the (fresh) adapter on them; `weight` gives that of a projection. */
  async initialiseMagnitudes(engine: Engine, weight: (graph: Graph, projection: string) => Weight): Promise<void> {
    const graph = new Graph();
    const names = [...this.#projections.keys()];
    for (const name of names) graph.output(name, doraNorm(weight(graph, name), this.factors(graph, name)!));
    const plan = await engine.compile(graph);
    const lengths = await plan.run({}, names);
    plan.dispose();
    for (const name of names) this.store.write(`${name}.m`, Float32Array.from(lengths[name]!));
  }

  /** Factors (or their gradients) by module path, as PEFT stores them: A [r, in], B [out, r]. */
  async read(from: 'values' | 'gradients' = 'values'): Promise<Map<string, LoraWeights>> {
    await this.ready;
    const out = new Map<string, LoraWeights>();
    for (const [name, p] of this.#projections) {
      const magnitudes = this.config.useDora ? await this.store.read(`${name}.m`, from) : undefined;
      const a = await this.store.read(`${name}.a`, from);
      const b = await this.store.read(`${name}.b`, from);
      const { inFeatures, modules } = p.projection;
      modules.forEach((m, part) => {
        const rank = p.ranks[part]!;
        if (rank === 0) return;
        const first = p.ends[part]! - m.outFeatures;
        const loraB = new Float32Array(m.outFeatures * rank);
        for (let o = 0; o < m.outFeatures; o++) for (let r = 0; r < rank; r++) loraB[o * rank + r] = b[(first + o) * p.rank + r]!;
        out.set(m.name, { loraA: Float32Array.from(a.subarray(part * p.rank * inFeatures, (part * p.rank + rank) * inFeatures)), loraB, ...(magnitudes === undefined ? {} : { magnitude: Float32Array.from(magnitudes.subarray(first, p.ends[part])) }) });
      });
    }
    return out;
  }

  /** Takes up the factors of every target. Throws `invalid-adapter` when one is missing or has another size. */
  write(weights: ReadonlyMap<string, LoraWeights>): void {
    for (const t of this.targets) {
      const w = weights.get(t.name);
      if (w === undefined || w.loraA.length !== t.r * t.inFeatures || w.loraB.length !== t.r * t.outFeatures || (this.config.useDora && w.magnitude?.length !== t.outFeatures)) {
        throw new ModelError('invalid-adapter', { argument: t.name, value: w === undefined ? null : [w.loraA.length, w.loraB.length], message: `should have factors of rank ${t.r} for ${t.inFeatures} to ${t.outFeatures}`, remedy: 'Use an adapter made for this model and config.' });
      }
    }
    for (const [name, p] of this.#projections) {
      const { inFeatures, modules } = p.projection;
      const a = new Float32Array(p.rank * modules.length * inFeatures);
      const b = new Float32Array(p.ends[p.ends.length - 1]! * p.rank);
      const magnitudes = new Float32Array(p.ends[p.ends.length - 1]!).fill(1);
      modules.forEach((m, part) => {
        const w = p.ranks[part] === 0 ? undefined : weights.get(m.name);
        if (w === undefined) return;
        const rank = p.ranks[part]!;
        a.set(w.loraA, part * p.rank * inFeatures);
        const first = p.ends[part]! - m.outFeatures;
        if (w.magnitude !== undefined) magnitudes.set(w.magnitude, first);
        for (let o = 0; o < m.outFeatures; o++) for (let r = 0; r < rank; r++) b[(first + o) * p.rank + r] = w.loraB[o * rank + r]!;
      });
      this.store.write(`${name}.a`, a);
      this.store.write(`${name}.b`, b);
      if (this.config.useDora) this.store.write(`${name}.m`, magnitudes);
    }
  }

  /** The adapter as plain data, for `adapterFiles`. */
  async toAdapter(): Promise<Adapter> {
    return { config: this.config, targets: this.targets, weights: await this.read() };
  }

  /** A function that gives the weight [out, in] of a module with the adapter in it; undefined for one without. */
  async merger(): Promise<(module: string, weight: Float32Array) => Float32Array | undefined> {
    const weights = await this.read();
    const targets = new Map(this.targets.map((t) => [t.name, t]));
    return (module, weight) => {
      const target = targets.get(module);
      if (target === undefined) return undefined;
      const { r: rank, scaling, inFeatures, outFeatures } = target;
      const { loraA, loraB, magnitude } = weights.get(module)!;
      const merged = Float64Array.from(weight);
      for (let o = 0; o < outFeatures; o++) {
        for (let r = 0; r < rank; r++) {
          const b = scaling * loraB[o * rank + r]!;
          for (let i = 0; i < inFeatures; i++) merged[o * inFeatures + i]! += b * loraA[r * inFeatures + i]!;
        }
      }
      if (magnitude !== undefined) {
        const lengths = rowLengths(merged, inFeatures);
        for (let j = 0; j < merged.length; j++) merged[j]! *= magnitude[Math.floor(j / inFeatures)]! / lengths[Math.floor(j / inFeatures)]!;
      }
      return Float32Array.from(merged);
    };
  }

  dispose(): void {
    this.store.dispose();
  }
}

/** Euclidean length of every row of a matrix with `columns` columns. */
function rowLengths(matrix: ArrayLike<number>, columns: number): Float64Array {
  return Float64Array.from({ length: matrix.length / columns }, (_, row) => {
    let sum = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) sum += matrix[i]! ** 2;
    return Math.sqrt(sum);
  });
}
