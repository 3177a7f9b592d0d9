import type { Engine, Plan, Storage } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { Graph } from '../graph.ts';
import type { DType } from '../tensor.ts';
import type { Device } from './device.ts';
import type { KernelContext } from './kernels/context.ts';
import { compilePlan } from './plan.ts';
import { GpuStorage } from './storage.ts';

/** Counters of everything an engine has done; the difference of two readings describes what lay between. */
export interface EngineCounters {
  dispatches: number;
  passes: number;
  submissions: number;
  buffers: number;
  bindGroups: number;
  pipelines: number;
  /** Bytes of buffers alive now. */
  bytes: number;
  compileMs: number;
}

/** The engine that runs graphs on a WebGPU device in float32. */
export class WebGpuEngine implements Engine {
  readonly name: string;
  readonly precision = 'f32';
  readonly device: Device;
  readonly counters: EngineCounters = { dispatches: 0, passes: 0, submissions: 0, buffers: 0, bindGroups: 0, pipelines: 0, bytes: 0, compileMs: 0 };
  readonly context: KernelContext;
  /** Set when the device is lost; everything after throws it. */
  #lost: RuntimeError | undefined;
  #disposed = false;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();

  constructor(device: Device, options: { readonly portable?: boolean } = {}) {
    this.device = device;
    this.name = `webgpu (${device.adapter.description || device.adapter.vendor})`;
    const { features, subgroupMinSize, subgroupMaxSize } = device.adapter;
    this.context = { subgroup8: options.portable !== true && features.includes('subgroups') && subgroupMinSize === 8 && subgroupMaxSize === 8 };
    void device.lost.then(({ reason, message }) => {
      this.#lost = new RuntimeError(reason === 'destroyed' ? 'disposed' : 'device-lost', 'device', `the WebGPU device is gone (${message || reason}).`, 'Open a new device, load the last checkpoint and carry on.');
    });
  }

  createStorage(name: string, length: number, dtype: DType = 'f32'): Storage {
    return new GpuStorage(this, name, length, dtype);
  }

  compile(graph: Graph): Promise<Plan> {
    return compilePlan(this, graph);
  }

  /** Throws when the device can no longer be used. */
  check(): void {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#disposed) throw new RuntimeError('disposed', 'engine', 'has been disposed.', 'Create a new engine.');
  }

  buffer(label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.check();
    if (size > this.device.adapter.maxBufferSize) {
      throw new RuntimeError('limit', label, `needs a buffer of ${size} bytes; the device allows ${this.device.adapter.maxBufferSize}.`, 'Use a smaller batch or split the tensor.');
    }
    this.counters.buffers++;
    this.counters.bytes += size;
    return this.device.gpu.createBuffer({ label, size, usage });
  }

  release(buffer: GPUBuffer): void {
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
    const module = this.device.gpu.createShaderModule({ label, code });
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
    } catch (cause) {
      await Promise.race([this.device.lost, new Promise((r) => setTimeout(r, 50))]);
      this.check();
      throw new RuntimeError('validation', 'readback', 'a result could not be read.', 'See the cause.', { cause });
    }
  }

  submit(commands: GPUCommandBuffer): void {
    this.counters.submissions++;
    this.device.gpu.queue.submit([commands]);
  }

  dispose(): void {
    this.#disposed = true;
    this.device.dispose();
  }
}
