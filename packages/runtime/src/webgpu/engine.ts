import type { Engine, Storage } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { Graph } from '../graph.ts';
import { liveNodes } from '../live.ts';
import type { DType } from '../tensor.ts';
import type { EngineCounters } from './counters.ts';
import type { Device } from './device.ts';
import type { KernelContext } from './kernels/context.ts';
import { compilePlan, type GpuPlan } from './plan.ts';
import { GpuStorage } from './storage.ts';
import type { KernelTuner } from './tuner.ts';

export interface WebGpuEngineOptions {
  /** Only kernels that need no optional feature. */
  readonly portable?: boolean;
  /** Kernels whose workgroups share the work of a row. Default: on GPUs, not on CPUs that play one (`AdapterFacts.software`). */
  readonly cooperative?: boolean;
  /**
   * `f16`: large products round their operands to half floats and run on the matrix units of the GPU (sums stay in f32);
   * numbers beyond 65,504 become infinite, and results differ in the fourth digit. Needs a device opened with
   * `experimental` that has `chromium-experimental-subgroup-matrix`; `limit` without. Default `f32`.
   */
  readonly matmulPrecision?: 'f32' | 'f16';
  /** Measures kernel variants on this device when a plan is compiled; without, a fixed one is taken. */
  readonly tuner?: KernelTuner;
  /** Bytes that one binding may have, if fewer than the device allows: larger tables are then worked on in shards, as on a device with that limit. */
  readonly maxBinding?: number;
}

/** Buffers alive under one label. */
export interface LiveBuffers {
  readonly label: string;
  readonly count: number;
  readonly bytes: number;
}

/** The engine that runs graphs on a WebGPU device in float32. */
export class WebGpuEngine implements Engine {
  readonly name: string;
  readonly precision = 'f32';
  readonly device: Device;
  readonly counters: EngineCounters = { dispatches: 0, passes: 0, submissions: 0, buffers: 0, bindGroups: 0, pipelines: 0, bytes: 0, peakBytes: 0, compileMs: 0 };
  readonly context: KernelContext;
  readonly maxBinding: number;
  /** Set when the device is lost; everything after throws it. */
  #lost: RuntimeError | undefined;
  #disposed = false;
  /** What the device has refused since the last call, told by the next one. */
  #refused: RuntimeError | undefined;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #alive = new Set<GPUBuffer>();
  readonly #tuner: KernelTuner | undefined;

  constructor(device: Device, options: WebGpuEngineOptions = {}) {
    this.device = device;
    this.#tuner = options.tuner;
    this.maxBinding = Math.min(options.maxBinding ?? Infinity, device.adapter.maxStorageBufferBindingSize);
    this.name = `webgpu (${device.adapter.description || device.adapter.vendor})`;
    const { features, subgroupMinSize, subgroupMaxSize } = device.adapter;
    this.context = {
      subgroup8: options.portable !== true && features.includes('subgroups') && subgroupMinSize === 8 && subgroupMaxSize === 8,
      cooperative: options.cooperative ?? !device.adapter.software,
      software: device.adapter.software,
      matrixUnits: options.matmulPrecision === 'f16',
    };
    if (this.context.matrixUnits && !device.adapter.matrixUnits) {
      throw new RuntimeError('limit', 'WebGpuEngine', `matmulPrecision 'f16' needs matrix units, which ${this.name} does not offer.`, 'Open the device with experimental: true on a GPU that has them, or leave the precision at f32.');
    }
    device.gpu.addEventListener('uncapturederror', this.#onRefused);
    void device.lost.then(({ reason, message }) => {
      this.#lost = new RuntimeError(reason === 'destroyed' ? 'disposed' : 'device-lost', 'device', `the WebGPU device is gone (${message || reason}).`, 'Open a new device, load the last checkpoint and carry on.');
    });
  }

  createStorage(name: string, length: number, dtype: DType = 'f32'): Storage {
    return new GpuStorage(this, name, length, dtype);
  }

  async compile(graph: Graph): Promise<GpuPlan> {
    this.check();
    return compilePlan(this, graph, await this.#tuner?.tune(this, liveNodes(graph)));
  }

  /** Throws when the device can no longer be used, and once what it refused of the calls before. */
  check(): void {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#disposed) throw new RuntimeError('disposed', 'engine', 'has been disposed.', 'Create a new engine.');
    const refused = this.#refused;
    this.#refused = undefined;
    if (refused !== undefined) throw refused;
  }

  /** What holds memory of the device, the largest first: after everything is disposed of, nothing. */
  liveBuffers(): LiveBuffers[] {
    const byLabel = new Map<string, { count: number; bytes: number }>();
    for (const { label, size } of this.#alive) {
      const before = byLabel.get(label) ?? { count: 0, bytes: 0 };
      byLabel.set(label, { count: before.count + 1, bytes: before.bytes + size });
    }
    return [...byLabel].map(([label, held]) => ({ label, ...held })).sort((a, b) => b.bytes - a.bytes);
  }

  buffer(label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.check();
    if (size > this.device.adapter.maxBufferSize) {
      throw new RuntimeError('limit', label, `needs a buffer of ${size} bytes; the device allows ${this.device.adapter.maxBufferSize}.`, 'Use a smaller batch or split the tensor.');
    }
    this.counters.buffers++;
    this.counters.bytes += size;
    this.counters.peakBytes = Math.max(this.counters.peakBytes, this.counters.bytes);
    const buffer = this.device.gpu.createBuffer({ label, size, usage });
    this.#alive.add(buffer);
    return buffer;
  }

  release(buffer: GPUBuffer): void {
    if (!this.#alive.delete(buffer)) return;
    this.counters.bytes -= buffer.size;
    buffer.destroy();
  }

  /** One pipeline for each distinct shader, compiled asynchronously; a failure carries the shader's messages. */
  pipeline(label: string, code: string): Promise<GPUComputePipeline> {
    let pipeline = this.#pipelines.get(code);
    if (pipeline === undefined) {
      pipeline = this.#compilePipeline(label, code);
      this.#pipelines.set(code, pipeline);
    }
    return pipeline;
  }

  async #compilePipeline(label: string, code: string): Promise<GPUComputePipeline> {
    this.check();
    this.counters.pipelines++;
    const start = performance.now();
    // What is wrong with the shader is told below, with its lines; the device need not tell it a second time.
    this.device.gpu.pushErrorScope('validation');
    const module = this.device.gpu.createShaderModule({ label, code });
    void this.device.gpu.popErrorScope().catch(() => undefined);
    try {
      return await this.device.gpu.createComputePipelineAsync({ label, layout: 'auto', compute: { module, entryPoint: 'main' } });
    } catch (cause) {
      this.check();
      const { messages } = await module.getCompilationInfo();
      const lines = code.split('\n');
      const text = messages.map((m) => `\n  line ${m.lineNum}:${m.linePos} ${m.message}\n    ${lines[m.lineNum - 1] ?? ''}`).join('');
      throw new RuntimeError('compile', label, `the shader does not compile on ${this.name}.${text}`, 'This is a defect of @trimpi/runtime: please report it with this message.', { cause });
    } finally {
      this.counters.compileMs += performance.now() - start;
    }
  }

  /** Copies part of a buffer to the host once everything submitted has run. */
  async readBuffer(buffer: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    this.check();
    const staging = this.buffer('staging', Math.max(4, bytes), GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    const encoder = this.device.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
    this.submit(encoder.finish());
    try {
      await this.map(staging);
      return staging.getMappedRange(0, bytes).slice(0);
    } finally {
      this.release(staging);
    }
  }

  async map(staging: GPUBuffer): Promise<void> {
    try {
      await staging.mapAsync(GPUMapMode.READ);
      // What was refused on the way left old numbers to be read.
      this.check();
    } catch (cause) {
      if (cause instanceof RuntimeError) throw cause;
      await Promise.race([this.device.lost, new Promise((r) => setTimeout(r, 50))]);
      this.check();
      throw new RuntimeError('validation', 'readback', 'a result could not be read.', 'See the cause.', { cause });
    }
  }

  submit(commands: GPUCommandBuffer): void {
    this.counters.submissions++;
    this.device.gpu.queue.submit([commands]);
  }

  /** Ends the engine and its device. */
  dispose(): void {
    this.#disposed = true;
    this.device.gpu.removeEventListener('uncapturederror', this.#onRefused);
    this.device.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  readonly #onRefused = (event: GPUUncapturedErrorEvent): void => {
    const { error } = event;
    const memory = typeof GPUOutOfMemoryError !== 'undefined' && error instanceof GPUOutOfMemoryError;
    this.#refused ??= memory
      ? new RuntimeError('out-of-memory', 'device', `memory could not be had: ${error.message}`, 'Use a smaller model or batch, or dispose of other plans.')
      : new RuntimeError('validation', 'device', `a command was refused, and did not run: ${error.message}`, 'Load the last checkpoint, and report this message as a defect of @trimpi/runtime.');
  };
}
