/**
 * @file Chooses kernel variants by measuring them on the device that will run them. Which tile of a matrix product is fastest
 * depends on the device and on the shape, and no rule says it beforehand; so, before a plan is compiled, every class of
 * shapes in it that has not been met on this adapter runs all its variants on scratch memory, and the fastest is kept. The
 * choices can be saved: with the same choices a graph gives the same bits.
 */
import { RuntimeError } from '../errors.ts';
import { Graph, type Node, nodeOf } from '../graph.ts';
import { bmmInto } from '../ops/bmm.ts';
import { matmulInto } from '../ops/matmul.ts';
import { sizeOf } from '../tensor.ts';
import type { AdapterFacts } from './device.ts';
import type { KernelContext } from './kernels/context.ts';
import { type MatmulVariant, shapeClass, variantsOf } from './kernels/matmul.ts';
import { batchedProductOf, type Product, productOf } from './kernels/product.ts';
import { compilePlan, type PlanHost } from './plan.ts';
import { GpuStorage } from './storage.ts';

/** Where choices are kept between processes: a file, IndexedDB, whatever the application has. */
export interface TuningStore {
  /** The text that `save` was given last, undefined when there is none. */
  load(): Promise<string | undefined>;
  save(text: string): Promise<void>;
}

/** Microseconds a dispatch of each variant that was measured for a class of shapes, and the one that is taken. */
export interface TunedClass {
  readonly variant: string;
  readonly microseconds: Readonly<Record<string, number>>;
}

type Choices = Record<string, Record<string, TunedClass>>;

/** Products that need more than this are not measured (operands and result, bytes): they take the default. */
const MAX_BYTES = 2 ** 28;
/** Dispatches of one measurement; the fastest counts, because what disturbs a measurement only makes it slower. */
const REPEATS = 4;

/** Measures once for each adapter and class of shapes; give it to engines as `tuner`. One may serve several engines. */
export class KernelTuner {
  /** Classes measured by this tuner, those loaded not counted. */
  measured = 0;
  readonly #store: TuningStore | undefined;
  #choices: Choices = {};
  #loaded: Promise<void> | undefined;
  /** Measurements do not run beside each other. */
  #queue: Promise<void> = Promise.resolve();

  constructor(store?: TuningStore) {
    this.#store = store;
  }

  /** All choices: by adapter, then by class of shapes. */
  get choices(): Readonly<Record<string, Readonly<Record<string, TunedClass>>>> {
    return this.#choices;
  }

  /** Makes choices for all products among `nodes`, and answers with the context that takes them. */
  tune(engine: PlanHost, nodes: readonly Node[]): Promise<KernelContext> {
    const result = this.#queue.then(() => this.#tune(engine, nodes));
    this.#queue = result.then(() => undefined, () => undefined);
    return result;
  }

  async #tune(engine: PlanHost, nodes: readonly Node[]): Promise<KernelContext> {
    await (this.#loaded ??= this.#load());
    const known = (this.#choices[adapterKey(engine.device.adapter)] ??= {});
    const before = this.measured;
    for (const node of nodes) {
      const [plain, batched] = [nodeOf(node, 'matmul'), nodeOf(node, 'bmm')];
      const product = plain !== undefined ? productOf(plain) : batched !== undefined ? batchedProductOf(batched) : undefined;
      if (product === undefined) continue;
      const key = shapeClass(product);
      const variants = variantsOf(product, engine.context);
      const bytes = 4 * product.batch * (product.m * product.k + product.k * product.n + product.m * product.n);
      if (bytes > MAX_BYTES || bytes > engine.maxBinding || variants.includes(known[key]?.variant as MatmulVariant)) continue;
      const microseconds: Record<string, number> = {};
      for (const variant of variants) microseconds[variant] = await measure(engine, product, variant);
      known[key] = { variant: variants.reduce((a, b) => (microseconds[b]! < microseconds[a]! ? b : a)), microseconds };
      this.measured++;
    }
    if (this.measured > before) await this.#store?.save(`${JSON.stringify({ format: 1, adapters: this.#choices }, null, 1)}\n`);
    return { ...engine.context, tuned: (key) => known[key]?.variant };
  }

  async #load(): Promise<void> {
    const text = await this.#store?.load();
    if (text === undefined) return;
    try {
      const saved = JSON.parse(text) as { readonly format: number; readonly adapters: Choices };
      if (saved.format !== 1 || typeof saved.adapters !== 'object') throw new Error('it is of another format');
      this.#choices = saved.adapters;
    } catch (cause) {
      throw new RuntimeError('input', 'tuning', `the saved choices cannot be read (${cause instanceof Error ? cause.message : String(cause)}).`, 'Delete them: they are measured again.', { cause });
    }
  }
}

function adapterKey({ vendor, architecture, description }: AdapterFacts): string {
  return [vendor, architecture, description].join('; ');
}

/** Microseconds of one dispatch of a variant at a product's sizes, on memory that is taken and given back here. */
async function measure(engine: PlanHost, { m, n, k, batch, transposeA, transposeB }: Product, variant: MatmulVariant): Promise<number> {
  const graph = new Graph();
  const out = new GpuStorage(engine, 'tuning', batch * m * n, 'f32');
  try {
    const lead = batch > 1 ? [batch] : [];
    const a = graph.input('a', [...lead, ...(transposeA ? [k, m] : [m, k])]);
    const b = graph.input('b', [...lead, ...(transposeB ? [n, k] : [k, n])]);
    const target = graph.view(out, 0, [...lead, m, n]);
    for (let i = 0; i < REPEATS; i++) (batch > 1 ? bmmInto : matmulInto)(target, a, b, { transposeA, transposeB });
    const plan = await compilePlan(engine, graph, { ...engine.context, tuned: () => variant });
    try {
      // The first run compiles and touches the memory.
      await plan.run({ a: new Float32Array(sizeOf(a.shape)).fill(1), b: new Float32Array(sizeOf(b.shape)).fill(1) });
      await out.read(0, 1);
      if (engine.device.adapter.features.includes('timestamp-query')) {
        const { events } = await plan.profile({});
        return Math.min(...events.map((e) => e.microseconds));
      }
      const start = performance.now();
      await plan.run({});
      await out.read(0, 1);
      return ((performance.now() - start) * 1000) / REPEATS;
    } finally {
      plan.dispose();
    }
  } finally {
    out.dispose();
  }
}
