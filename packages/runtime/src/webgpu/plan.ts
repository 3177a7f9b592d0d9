import type { HostArray, Plan, PlanInputs, PlanMemory, PlanOutputs } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { Graph, Node } from '../graph.ts';
import { liveNodes, storageBytes } from '../live.ts';
import type { OpName } from '../ops/types.ts';
import { describe, sizeOf, type Tensor } from '../tensor.ts';
import { fromBytes, toBytes } from './bytes.ts';
import type { Device } from './device.ts';
import type { Kernel, KernelContext } from './kernels/context.ts';
import { fuse } from './kernels/norm-fused.ts';
import { KERNELS } from './kernels/table.ts';
import type { Launch } from './launch.ts';
import { bytesOf, placeIntermediates } from './lifetimes.ts';
import type { GpuStorage, StorageHost } from './storage.ts';

/** What a plan asks of its engine. */
export interface PlanHost extends StorageHost {
  readonly device: Device;
  readonly context: KernelContext;
  readonly counters: { dispatches: number; passes: number; bindGroups: number };
  pipeline(label: string, code: string): Promise<GPUComputePipeline>;
  map(staging: GPUBuffer): Promise<void>;
  submit(commands: GPUCommandBuffer): void;
}

/** Uniform data of each dispatch begins at a multiple of this. */
const UNIFORM_ALIGNMENT = 256;

interface Step {
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: readonly [number, number, number];
}

/** What a plan of a graph consists of, before any memory is asked for. */
export interface PlanLayout {
  readonly nodes: readonly Node[];
  readonly launches: readonly Launch[];
  readonly slotOf: ReadonlyMap<number, number>;
  /** Bytes of each slot of intermediates. */
  readonly slots: readonly number[];
  readonly memory: PlanMemory;
}

/** Chooses kernels and places memory. Throws `limit` for a tensor that no kernel of the device may bind. */
export function layOut(graph: Graph, context: KernelContext, maxBinding: number): PlanLayout {
  const nodes = liveNodes(graph);
  const launches: Launch[] = [];
  for (const node of nodes) checkNode(maxBinding, node);
  for (let i = 0; i < nodes.length; i++) {
    const both = fuse(nodes[i]!, nodes[i + 1]);
    if (both !== undefined) i++;
    launches.push(...(both === undefined ? (KERNELS[nodes[i]!.op] as Kernel<OpName>)(nodes[i]!, context) : [both]));
  }
  const { slotOf, slots } = placeIntermediates(nodes, graph.outputs.values());
  const intermediates = slots.reduce((a, b) => a + b, 0);
  const inputs = [...graph.inputs.values()].reduce((a, t) => a + bytesOf(t), 0);
  const overhead = Math.max(1, launches.length) * UNIFORM_ALIGNMENT + [...graph.outputs.values()].reduce((n, t) => n + bytesOf(t), 0);
  return { nodes, launches, slotOf, slots, memory: { intermediates, inputs, overhead, total: intermediates + inputs + overhead, storages: storageBytes(nodes, 4) } };
}

/** Compiles every kernel of the graph in parallel, places its memory, and makes its bind groups once. */
export async function compilePlan(engine: PlanHost, graph: Graph): Promise<Plan> {
  engine.check();
  const { nodes, launches, slotOf, slots, memory } = layOut(graph, engine.context, engine.device.adapter.maxStorageBufferBindingSize);
  const pipelines = await Promise.all(launches.map((l) => engine.pipeline(l.label, l.code)));

  engine.device.gpu.pushErrorScope('validation');
  engine.device.gpu.pushErrorScope('out-of-memory');
  const owned: GPUBuffer[] = [];
  const make = (label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer => {
    const b = engine.buffer(label, size, usage);
    owned.push(b);
    return b;
  };
  const slotBuffers = slots.map((size, i) => make(`intermediate ${i}`, size, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST));
  const inputBuffers = new Map<number, GPUBuffer>();
  for (const t of graph.inputs.values()) {
    inputBuffers.set(t.id, make(t.name, bytesOf(t), GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST));
  }
  const locate = (t: Tensor): { buffer: GPUBuffer; offset: number; size: number } => {
    const bytes = bytesOf(t);
    if (t.kind === 'storage') return { buffer: (t.storage as GpuStorage).buffer, offset: (t.offset ?? 0) * 4, size: bytes };
    if (t.kind === 'input') return { buffer: inputBuffers.get(t.id)!, offset: 0, size: bytes };
    const slot = slotOf.get(t.id);
    if (slot === undefined) throw new RuntimeError('input', describe(t), 'is used but no operation of this graph makes it.', 'Use tensors only in the graph that recorded them.');
    return { buffer: slotBuffers[slot]!, offset: 0, size: bytes };
  };

  const uniforms = new Uint8Array(Math.max(1, launches.length) * UNIFORM_ALIGNMENT);
  launches.forEach((l, i) => uniforms.set(l.uniforms, i * UNIFORM_ALIGNMENT));
  const uniformBuffer = make('uniforms', uniforms.byteLength, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  engine.device.gpu.queue.writeBuffer(uniformBuffer, 0, uniforms);

  const steps: Step[] = launches.map((l, i) => {
    const pipeline = pipelines[i]!;
    engine.counters.bindGroups++;
    return {
      label: l.label,
      pipeline,
      workgroups: l.workgroups,
      bindGroup: engine.device.gpu.createBindGroup({
        label: l.label,
        layout: pipeline.getBindGroupLayout(0),
        entries: [
          ...l.bindings.map((t, binding) => ({ binding, resource: locate(t) })),
          { binding: l.bindings.length, resource: { buffer: uniformBuffer, offset: i * UNIFORM_ALIGNMENT, size: Math.max(16, l.uniforms.byteLength) } },
        ],
      }),
    };
  });
  const outOfMemory = await engine.device.gpu.popErrorScope();
  const invalid = await engine.device.gpu.popErrorScope();
  if (outOfMemory !== null || invalid !== null) {
    for (const b of owned) engine.release(b);
    if (outOfMemory !== null) {
      const { op, t } = largest(nodes);
      throw new RuntimeError('out-of-memory', 'compile', `${memory.total} bytes could not be had; the largest tensor is ${describe(t)} of ${op}. ${outOfMemory.message}`, 'Use a smaller batch, checkpoint activations, or dispose of other plans.');
    }
    throw new RuntimeError('validation', 'compile', invalid!.message, 'This is a defect of @trimpi/runtime: please report it with this message.');
  }
  return new GpuPlan(engine, graph, steps, locate, inputBuffers, owned, memory);
}

function largest(nodes: readonly Node[]): { readonly op: OpName; readonly t: Tensor } {
  return nodes.flatMap((n) => n.outputs.map((t) => ({ op: n.op, t }))).reduce((a, b) => (bytesOf(b.t) > bytesOf(a.t) ? b : a));
}

/** Refuses what no kernel may bind: a tensor larger than the device's binding. */
function checkNode(limit: number, node: Node): void {
  for (const t of [...node.inputs, ...node.outputs]) {
    if (bytesOf(t) > limit) {
      throw new RuntimeError('limit', `${node.op} ${describe(t)}`, `takes ${bytesOf(t)} bytes; this device binds at most ${limit}.`, 'Use fewer tokens in a batch or split the tensor.');
    }
  }
}

class GpuPlan implements Plan {
  readonly dispatches: number;
  readonly steps: readonly Step[];
  readonly #engine: PlanHost;
  readonly #graph: Graph;
  readonly #locate: (t: Tensor) => { buffer: GPUBuffer; offset: number; size: number };
  readonly #inputs: ReadonlyMap<number, GPUBuffer>;
  readonly #owned: GPUBuffer[];
  readonly #memory: PlanMemory;
  /** Buffers through which outputs come back, kept for the next read of the same size. */
  readonly #staging: GPUBuffer[] = [];
  #disposed = false;

  constructor(
    engine: PlanHost,
    graph: Graph,
    steps: readonly Step[],
    locate: (t: Tensor) => { buffer: GPUBuffer; offset: number; size: number },
    inputs: ReadonlyMap<number, GPUBuffer>,
    owned: GPUBuffer[],
    memory: PlanMemory,
  ) {
    this.#engine = engine;
    this.#graph = graph;
    this.steps = steps;
    this.dispatches = steps.length;
    this.#locate = locate;
    this.#inputs = inputs;
    this.#owned = owned;
    this.#memory = memory;
  }

  async run(inputs: PlanInputs, read: readonly string[] = []): Promise<PlanOutputs> {
    const engine = this.#engine;
    engine.check();
    if (this.#disposed) throw new RuntimeError('disposed', 'plan', 'has been disposed.', 'Compile it again.');
    this.#write(inputs);
    const encoder = engine.device.gpu.createCommandEncoder();
    if (this.steps.length > 0) {
      const pass = encoder.beginComputePass();
      for (const step of this.steps) {
        pass.setPipeline(step.pipeline);
        pass.setBindGroup(0, step.bindGroup);
        pass.dispatchWorkgroups(...step.workgroups);
      }
      pass.end();
      engine.counters.passes++;
      engine.counters.dispatches += this.steps.length;
    }
    const tensors = read.map((name) => this.#output(name));
    const total = tensors.reduce((n, t) => n + bytesOf(t), 0);
    const staging = total === 0 ? undefined : this.#takeStaging(total);
    let at = 0;
    for (const t of tensors) {
      const { buffer, offset } = this.#locate(t);
      encoder.copyBufferToBuffer(buffer, offset, staging!, at, bytesOf(t));
      at += bytesOf(t);
    }
    engine.submit(encoder.finish());
    if (staging === undefined) return {};
    await engine.map(staging);
    const out: PlanOutputs = {};
    at = 0;
    tensors.forEach((t, i) => {
      out[read[i]!] = fromBytes(staging.getMappedRange(at, sizeOf(t.shape) * 4).slice(0), t.dtype);
      at += bytesOf(t);
    });
    staging.unmap();
    if (this.#disposed) engine.release(staging);
    else this.#staging.push(staging);
    return out;
  }

  memory(): PlanMemory {
    return this.#memory;
  }

  /** Runs once with a timestamp around each dispatch; nanoseconds by label. Needs the feature `timestamp-query`. */
  async profile(inputs: PlanInputs): Promise<Map<string, { count: number; ns: number }>> {
    const engine = this.#engine;
    if (!engine.device.adapter.features.includes('timestamp-query')) {
      throw new RuntimeError('limit', 'profile', 'this device has no timestamp queries.', 'Measure whole runs instead.');
    }
    this.#write(inputs);
    const { gpu } = engine.device;
    const result = new Map<string, { count: number; ns: number }>();
    const chunk = 1024;
    for (let first = 0; first < this.steps.length; first += chunk) {
      const steps = this.steps.slice(first, first + chunk);
      const querySet = gpu.createQuerySet({ type: 'timestamp', count: steps.length * 2 });
      const resolved = engine.buffer('timestamps', steps.length * 16, GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
      const encoder = gpu.createCommandEncoder();
      steps.forEach((step, i) => {
        const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
        pass.setPipeline(step.pipeline);
        pass.setBindGroup(0, step.bindGroup);
        pass.dispatchWorkgroups(...step.workgroups);
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, steps.length * 2, resolved, 0);
      engine.submit(encoder.finish());
      const stamps = new BigUint64Array(await engine.readBuffer(resolved, 0, steps.length * 16));
      steps.forEach((step, i) => {
        const entry = result.get(step.label) ?? { count: 0, ns: 0 };
        entry.count++;
        entry.ns += Number(stamps[2 * i + 1]! - stamps[2 * i]!);
        result.set(step.label, entry);
      });
      engine.release(resolved);
      querySet.destroy();
    }
    return result;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const b of [...this.#owned, ...this.#staging]) this.#engine.release(b);
  }

  #write(inputs: PlanInputs): void {
    for (const [name, data] of Object.entries(inputs)) {
      const t = this.#graph.inputs.get(name);
      if (t === undefined) throw new RuntimeError('input', name, `is not an input of this plan (${[...this.#graph.inputs.keys()].join(', ')}).`, 'Check the name.');
      checkInput(t, data);
      this.#engine.device.gpu.queue.writeBuffer(this.#inputs.get(t.id)!, 0, toBytes(data, t.dtype));
    }
  }

  #output(name: string): Tensor {
    const t = this.#graph.outputs.get(name);
    if (t === undefined) throw new RuntimeError('input', name, `is not an output of this plan (${[...this.#graph.outputs.keys()].join(', ')}).`, 'Check the name.');
    return t;
  }

  #takeStaging(bytes: number): GPUBuffer {
    const i = this.#staging.findIndex((b) => b.size === bytes);
    if (i >= 0) return this.#staging.splice(i, 1)[0]!;
    return this.#engine.buffer('staging', bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  }
}

/** Refuses data of another size than its input. */
export function checkInput(t: Tensor, data: HostArray): void {
  if (data.length !== sizeOf(t.shape)) {
    throw new RuntimeError('shape', describe(t), `was given ${data.length} elements, needs ${sizeOf(t.shape)}.`, 'Pad or cut the data to the shape of the plan.');
  }
}
