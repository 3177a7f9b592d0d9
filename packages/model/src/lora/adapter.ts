/** @file A low-rank adapter in memory: factors of every adapted projection in one trainable store. */
import { type Engine, type Graph, type LoraFactors, ParameterStore, PhiloxStream } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import type { LoraConfig } from './config.ts';
import { linearModules } from './modules.ts';
import type { Adapter, LoraWeights } from './peft-files.ts';
import { type LoraTarget, matchTargets } from './targets.ts';
import { type FusedProjection, textProjections, visionProjections } from '../vl/parameters.ts';


interface AdaptedProjection {
  readonly projection: FusedProjection;
  /** Largest rank of its modules; smaller ones are padded with zeros, which stay zero in training. */
  readonly rank: number;
  readonly ranks: readonly number[];
  readonly ends: readonly number[];
  /** 0 for a module of a fused projection that is not adapted. */
  readonly scales: readonly number[];
}

export class LoraAdapter {
  readonly name: string;
  readonly config: LoraConfig;
  readonly targets: readonly LoraTarget[];
  readonly store: ParameterStore;
  readonly #projections = new Map<string, AdaptedProjection>();

  /** @throws ModelError `invalid-adapter` when no module matches, `unsupported` for DoRA. */
  constructor(engine: Engine, model: ModelConfig, name: string, config: LoraConfig) {
    if (config.useDora) throw new ModelError('unsupported', { argument: 'lora.useDora', value: true, message: 'is read and written but not computed', remedy: 'Use plain or rank-stabilised LoRA.' });
    this.name = name;
    this.config = config;
    this.targets = matchTargets(linearModules(model), config);
    const byName = new Map(this.targets.map((t) => [t.name, t]));
    const all = [
      ...Array.from({ length: model.numHiddenLayers }, (_, i) => textProjections(model, i)).flat(),
      ...Array.from({ length: model.vision.depth + 1 }, (_, i) => visionProjections(model, i)).flat(),
    ];
    for (const projection of all) {
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
      });
    }
    this.store = new ParameterStore(
      engine,
      `lora.${name}`,
      [...this.#projections.values()].flatMap(({ projection, rank, ends }) => [
        { name: `${projection.name}.a`, shape: [rank * projection.modules.length, projection.inFeatures] },
        { name: `${projection.name}.b`, shape: [ends[ends.length - 1]!, rank] },
      ]),
    );
  }

  /** The factors on a projection in a graph, or undefined when it is not adapted. */
  factors(graph: Graph, projection: string): LoraFactors | undefined {
    const p = this.#projections.get(projection);
    if (p === undefined) return undefined;
    return { a: this.store.tensor(graph, `${projection}.a`), b: this.store.tensor(graph, `${projection}.b`), rank: p.rank, ends: p.ends, scales: p.scales };
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

  /** Factors (or their gradients) by module path, as PEFT stores them: A [r, in], B [out, r]. */
  async read(from: 'values' | 'gradients' = 'values'): Promise<Map<string, LoraWeights>> {
    const out = new Map<string, LoraWeights>();
    for (const [name, p] of this.#projections) {
      const a = await this.store.read(`${name}.a`, from);
      const b = await this.store.read(`${name}.b`, from);
      const { inFeatures, modules } = p.projection;
      modules.forEach((m, part) => {
        const rank = p.ranks[part]!;
        if (rank === 0) return;
        const first = p.ends[part]! - m.outFeatures;
        const loraB = new Float32Array(m.outFeatures * rank);
        for (let o = 0; o < m.outFeatures; o++) for (let r = 0; r < rank; r++) loraB[o * rank + r] = b[(first + o) * p.rank + r]!;
        out.set(m.name, { loraA: Float32Array.from(a.subarray(part * p.rank * inFeatures, (part * p.rank + rank) * inFeatures)), loraB });
      });
    }
    return out;
  }

  /** Takes up the factors of every target. Throws `invalid-adapter` when one is missing or has another size. */
  write(weights: ReadonlyMap<string, LoraWeights>): void {
    for (const t of this.targets) {
      const w = weights.get(t.name);
      if (w === undefined || w.loraA.length !== t.r * t.inFeatures || w.loraB.length !== t.r * t.outFeatures) {
        throw new ModelError('invalid-adapter', { argument: t.name, value: w === undefined ? null : [w.loraA.length, w.loraB.length], message: `should have factors of rank ${t.r} for ${t.inFeatures} to ${t.outFeatures}`, remedy: 'Use an adapter made for this model and config.' });
      }
    }
    for (const [name, p] of this.#projections) {
      const { inFeatures, modules } = p.projection;
      const a = new Float32Array(p.rank * modules.length * inFeatures);
      const b = new Float32Array(p.ends[p.ends.length - 1]! * p.rank);
      modules.forEach((m, part) => {
        const w = p.ranks[part] === 0 ? undefined : weights.get(m.name);
        if (w === undefined) return;
        const rank = p.ranks[part]!;
        a.set(w.loraA, part * p.rank * inFeatures);
        const first = p.ends[part]! - m.outFeatures;
        for (let o = 0; o < m.outFeatures; o++) for (let r = 0; r < rank; r++) b[(first + o) * p.rank + r] = w.loraB[o * rank + r]!;
      });
      this.store.write(`${name}.a`, a);
      this.store.write(`${name}.b`, b);
    }
  }

  /** The adapter as plain data, for `adapterFiles`. */
  async toAdapter(): Promise<Adapter> {
    return { config: this.config, targets: this.targets, weights: await this.read() };
  }

  /** scaling * B A of every target, [out, in]: what merging adds to its weight. */
  async deltas(): Promise<Map<string, Float32Array>> {
    const weights = await this.read();
    return new Map(
      this.targets.map(({ name, r: rank, scaling, inFeatures, outFeatures }) => {
        const { loraA, loraB } = weights.get(name)!;
        const delta = new Float32Array(outFeatures * inFeatures);
        for (let o = 0; o < outFeatures; o++) {
          for (let i = 0; i < inFeatures; i++) {
            let sum = 0;
            for (let r = 0; r < rank; r++) sum += loraB[o * rank + r]! * loraA[r * inFeatures + i]!;
            delta[o * inFeatures + i] = scaling * sum;
          }
        }
        return [name, delta];
      }),
    );
  }

  dispose(): void {
    this.store.dispose();
  }
}
