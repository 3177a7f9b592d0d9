import { type Device, type Engine, Graph, type HostArray, type PlanOutputs, PhiloxStream, type Tensor, WebGpuEngine } from '../src/index.ts';
import type { MatmulVariant } from '../src/webgpu/kernels/matmul.ts';
import { compilePlan, type GpuPlan } from '../src/webgpu/plan.ts';

/** An engine whose intermediates begin as NaN: a kernel that leaves out an element, or reads what nobody wrote, shows it. */
export class PoisonedEngine extends WebGpuEngine {
  override buffer(label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const buffer = super.buffer(label, size, usage);
    if (label.startsWith('intermediate')) this.device.gpu.queue.writeBuffer(buffer, 0, new Uint32Array(size / 4).fill(0x7fc00000));
    return buffer;
  }
}

/** Builds one case: records operations on `graph`, fills `data` for every input, and names its outputs. */
export interface CaseContext {
  readonly graph: Graph;
  readonly engine: Engine;
  readonly random: PhiloxStream;
  /** An input of normal numbers times `scale`. */
  normal(name: string, shape: readonly number[], scale?: number, nudge?: { index: number; by: number }): Tensor;
  integers(name: string, shape: readonly number[], values: readonly number[], dtype?: 'i32' | 'u32'): Tensor;
  /** Storage filled with normal numbers (`values` engine-independent), as a target of accumulation. */
  target(name: string, shape: readonly number[], map?: (x: number) => number): Tensor;
  /** An input of the given numbers. */
  constant(name: string, values: Float32Array): Tensor;
}

export type Case = (ctx: CaseContext) => void;

/** Runs a case on an engine; returns all outputs and all targets. The first run fills every buffer; the second must give the same. */
export async function runCase(engine: Engine, build: Case, seed: number): Promise<PlanOutputs> {
  const graph = new Graph();
  const data: Record<string, HostArray> = {};
  const random = new PhiloxStream(seed);
  const targets = new Map<string, { storage: ReturnType<Engine['createStorage']>; initial: Float32Array }>();
  build({
    graph,
    engine,
    random,
    normal(name, shape, scale = 1, nudge) {
      const n = shape.reduce((a, b) => a * b, 1);
      const values = Float64Array.from({ length: n }, () => Math.fround(random.normal() * scale));
      if (nudge !== undefined) values[nudge.index]! += nudge.by;
      data[name] = values;
      return graph.input(name, shape);
    },
    integers(name, shape, values, dtype = 'i32') {
      data[name] = dtype === 'i32' ? Int32Array.from(values) : Uint32Array.from(values);
      return graph.input(name, shape, dtype);
    },
    constant(name, values) {
      data[name] = values;
      return graph.input(name, [values.length]);
    },
    target(name, shape, map = (x) => x) {
      const n = shape.reduce((a, b) => a * b, 1);
      const initial = Float32Array.from({ length: n }, () => map(random.normal()));
      const storage = engine.createStorage(name, n);
      targets.set(name, { storage, initial });
      return graph.view(storage, 0, shape, name);
    },
  });
  const plan = await engine.compile(graph);
  const names = [...graph.outputs.keys()];
  let out: PlanOutputs = {};
  for (let repeat = 0; repeat < 2; repeat++) {
    for (const { storage, initial } of targets.values()) storage.write(initial);
    out = await plan.run(data, names);
    for (const [name, { storage }] of targets) out[name] = await storage.read();
  }
  plan.dispose();
  for (const { storage } of targets.values()) storage.dispose();
  return out;
}

/** Largest |got - want| / (1 + |want|) over all outputs, and where. */
export function worst(got: PlanOutputs, want: PlanOutputs): { error: number; where: string } {
  let error = 0;
  let where = '';
  for (const [name, expected] of Object.entries(want)) {
    const actual = got[name];
    if (actual === undefined || actual.length !== expected.length) return { error: Infinity, where: `${name} is missing or of another size` };
    for (let i = 0; i < expected.length; i++) {
      const e = Math.abs(actual[i]! - expected[i]!) / (1 + Math.abs(expected[i]!));
      if (!(e <= error)) {
        error = Number.isNaN(e) ? Infinity : e;
        where = `${name}[${i}] is ${actual[i]}, should be ${expected[i]}`;
      }
    }
  }
  return { error, where };
}

/** An engine that takes the given variant of matrix products wherever it fits. */
export class VariantEngine extends PoisonedEngine {
  readonly variant: MatmulVariant;

  constructor(device: Device, variant: MatmulVariant) {
    super(device, { portable: true });
    this.variant = variant;
  }

  override compile(graph: Graph): Promise<GpuPlan> {
    return compilePlan(this, graph, { ...this.context, cooperative: true, tuned: () => this.variant });
  }
}
