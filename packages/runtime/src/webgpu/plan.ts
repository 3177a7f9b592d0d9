import type { Plan, PlanInputs, PlanMemory, PlanOutputs, Storage, StorageRange } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import { checkInput, checkRanges, isHost } from '../filling.ts';
import type { Graph, Node } from '../graph.ts';
import type { OpName } from '../ops/types.ts';
import { describe, sizeOf, type Tensor } from '../tensor.ts';
import { fromBytes, toBytes } from './bytes.ts';
import type { EngineCounters } from './counters.ts';
import type { Device } from './device.ts';
import { assertFiniteSteps } from './finite.ts';
import type { KernelContext } from './kernels/context.ts';
import { layOut, type PlanLayout, UNIFORM_ALIGNMENT } from './layout.ts';
import { bytesOf } from './lifetimes.ts';
import { type ProfileReport, profileSteps } from './profile.ts';
import type { GpuStorage, StorageHost } from './storage.ts';

/** Where a tensor lies. */
export interface Place {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** What a plan asks of its engine. */
export interface PlanHost extends StorageHost {
  readonly device: Device;
  readonly context: KernelContext;
  /** Bytes that one binding may have. */
  readonly maxBinding: number;
  readonly counters: EngineCounters;
  pipeline(label: string, code: string): Promise<GPUComputePipeline>;
  map(staging: GPUBuffer): Promise<void>;
  submit(commands: GPUCommandBuffer): void;
}

export interface Step {
  /** The nodes that it is (part) of. */
  readonly origin: readonly Node[];
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: readonly [number, number, number];
}

/** Compiles every kernel of the graph in parallel, places its memory, and makes its bind groups once. */
export async function compilePlan(engine: PlanHost, graph: Graph, context = engine.context): Promise<GpuPlan> {
  engine.check();
  const { nodes, launches, origins, slotOf, slots, memory } = layOut(graph, context, engine.maxBinding);
  const pipelines = await Promise.all(launches.map((l) => engine.pipeline(l.label, l.code)));

  const { gpu } = engine.device;
  const owned: GPUBuffer[] = [];
  gpu.pushErrorScope('validation');
  gpu.pushErrorScope('out-of-memory');
  // Both are popped before anything is awaited, and whatever is thrown: a scope that stays on the device hides what comes after.
  const popped = () => Promise.all([gpu.popErrorScope(), gpu.popErrorScope()]);
  let placed: Placed;
  try {
    placed = placeLaunches(engine, graph, { launches, origins, slots, slotOf }, pipelines, owned);
  } catch (cause) {
    await popped();
    for (const b of owned) engine.release(b);
    throw cause;
  }
  const [outOfMemory, invalid] = await popped();
  if (outOfMemory !== null || invalid !== null) {
    for (const b of owned) engine.release(b);
    if (outOfMemory !== null) {
      const { op, t } = largest(nodes);
      throw new RuntimeError('out-of-memory', 'compile', `${memory.total} bytes could not be had; the largest tensor is ${describe(t)} of ${op}. ${outOfMemory.message}`, 'Use a smaller batch, checkpoint activations, or dispose of other plans.');
    }
    throw new RuntimeError('validation', 'compile', invalid!.message, 'This is a defect of @trimpi/runtime: please report it with this message.');
  }
  return new GpuPlan(engine, graph, placed, owned, memory);
}

interface Placed {
  readonly steps: readonly Step[];
  readonly locate: (t: Tensor) => Place;
  readonly inputBuffers: ReadonlyMap<number, GPUBuffer>;
  /** All storage that a step reads or writes. */
  readonly storages: ReadonlySet<GpuStorage>;
}

/** Makes buffers, added to `owned`, and bind groups. */
function placeLaunches(engine: PlanHost, graph: Graph, { launches, origins, slots, slotOf }: Pick<PlanLayout, 'launches' | 'origins' | 'slots' | 'slotOf'>, pipelines: readonly GPUComputePipeline[], owned: GPUBuffer[]): Placed {
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
  const locate = (t: Tensor): Place => {
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
      origin: origins[i]!,
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
  const storages = new Set(launches.flatMap((l) => l.bindings.flatMap((t) => (t.kind === 'storage' ? [t.storage as GpuStorage] : []))));
  return { steps, locate, inputBuffers, storages };
}

function largest(nodes: readonly Node[]): { readonly op: OpName; readonly t: Tensor } {
  return nodes.flatMap((n) => n.outputs.map((t) => ({ op: n.op, t }))).reduce((a, b) => (bytesOf(b.t) > bytesOf(a.t) ? b : a));
}

/** Dispatches of a submission: a device works on one of a long plan while the next is recorded. */
const MOST_DISPATCHES = 512;

export class GpuPlan implements Plan {
  readonly dispatches: number;
  readonly steps: readonly Step[];
  readonly #engine: PlanHost;
  readonly #graph: Graph;
  readonly #locate: (t: Tensor) => Place;
  readonly #inputs: ReadonlyMap<number, GPUBuffer>;
  readonly #storages: ReadonlySet<GpuStorage>;
  readonly #owned: GPUBuffer[];
  readonly #memory: PlanMemory;
  /** Buffers through which outputs come back, kept for the next read of the same size. */
  readonly #staging: GPUBuffer[] = [];
  #disposed = false;

  constructor(engine: PlanHost, graph: Graph, { steps, locate, inputBuffers, storages }: Placed, owned: GPUBuffer[], memory: PlanMemory) {
    this.#engine = engine;
    this.#graph = graph;
    this.steps = steps;
    this.dispatches = steps.length;
    this.#locate = locate;
    this.#inputs = inputBuffers;
    this.#storages = storages;
    this.#owned = owned;
    this.#memory = memory;
  }

  async run(inputs: PlanInputs, read: readonly string[] = [], into: Readonly<Record<string, readonly StorageRange[]>> = {}): Promise<PlanOutputs> {
    const engine = this.#engine;
    this.#check();
    // All names and ranges before any of it runs.
    const tensors = read.map((name) => this.#output(name));
    for (const [name, ranges] of Object.entries(into)) checkRanges(this.#output(name), ranges);
    let encoder = engine.device.gpu.createCommandEncoder();
    this.#write(inputs, encoder);
    for (let first = 0; first < this.steps.length; first += MOST_DISPATCHES) {
      if (first > 0) {
        engine.submit(encoder.finish());
        encoder = engine.device.gpu.createCommandEncoder();
      }
      const end = Math.min(first + MOST_DISPATCHES, this.steps.length);
      const pass = encoder.beginComputePass();
      for (let i = first; i < end; i++) {
        const step = this.steps[i]!;
        pass.setPipeline(step.pipeline);
        pass.setBindGroup(0, step.bindGroup);
        pass.dispatchWorkgroups(...step.workgroups);
      }
      pass.end();
      engine.counters.passes++;
      engine.counters.dispatches += end - first;
    }
    for (const [name, ranges] of Object.entries(into)) {
      const t = this.#output(name);
      const { buffer, offset } = this.#locate(t);
      let from = offset;
      for (const { storage, offset: to, length } of ranges) {
        encoder.copyBufferToBuffer(buffer, from, bufferOf(storage), to * 4, length * 4);
        from += length * 4;
      }
    }
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
    try {
      await engine.map(staging);
    } catch (cause) {
      engine.release(staging);
      throw cause;
    }
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

  /**
   * Runs once, each dispatch in a pass of its own between two timestamps, so that a run takes longer than it does replayed.
   * Needs the feature `timestamp-query` (`limit` without). Browsers may round timestamps to 100 microseconds.
   */
  async profile(inputs: PlanInputs): Promise<ProfileReport> {
    this.#fill(inputs);
    return profileSteps(this.#engine, this.steps);
  }

  async assertFinite(inputs: PlanInputs): Promise<void> {
    this.#fill(inputs);
    await assertFiniteSteps(this.#engine, this.steps, this.#locate);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const b of [...this.#owned, ...this.#staging]) this.#engine.release(b);
  }

  #check(): void {
    this.#engine.check();
    if (this.#disposed) throw new RuntimeError('disposed', 'plan', 'has been disposed.', 'Compile it again.');
    for (const storage of this.#storages) storage.check();
  }

  /** Hands over inputs in a submission of their own. */
  #fill(inputs: PlanInputs): void {
    this.#check();
    const encoder = this.#engine.device.gpu.createCommandEncoder();
    this.#write(inputs, encoder);
    this.#engine.submit(encoder.finish());
  }

  #write(inputs: PlanInputs, encoder: GPUCommandEncoder): void {
    for (const [name, data] of Object.entries(inputs)) {
      const t = this.#graph.inputs.get(name);
      if (t === undefined) throw new RuntimeError('input', name, `is not an input of this plan (${[...this.#graph.inputs.keys()].join(', ')}).`, 'Check the name.');
      const target = this.#inputs.get(t.id)!;
      if (isHost(data)) {
        checkInput(t, data);
        this.#engine.device.gpu.queue.writeBuffer(target, 0, toBytes(data, t.dtype));
        continue;
      }
      checkRanges(t, data);
      let at = 0;
      for (const { storage, offset, length } of data) {
        encoder.copyBufferToBuffer(bufferOf(storage), offset * 4, target, at, length * 4);
        at += length * 4;
      }
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

function bufferOf(storage: Storage): GPUBuffer {
  const { buffer } = storage as Partial<GpuStorage>;
  if (buffer === undefined) throw new RuntimeError('input', storage.name, 'is storage of another engine.', 'Create it on the engine of the plan.');
  (storage as GpuStorage).check();
  return buffer;
}
