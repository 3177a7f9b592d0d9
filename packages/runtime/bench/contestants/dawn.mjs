/** @file WebGPU in Node for packages that look for `navigator.gpu`; the device they open is kept, to wait for it. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

/** Finds packages among the benchmark's peers. */
export const peers = createRequire(pathToFileURL(`${process.env.TRIMPI_BENCH_PEERS}/package.json`));

export async function installWebGpu() {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([]);
  const held = { device: undefined, adapter: '', dispatches: 0 };
  Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: 'node' }, configurable: true });
  const request = gpu.requestAdapter.bind(gpu);
  gpu.requestAdapter = async (options) => {
    const adapter = await request(options);
    held.adapter = adapter.info.description;
    const open = adapter.requestDevice.bind(adapter);
    adapter.requestDevice = async (descriptor) => (held.device = await open(descriptor));
    return adapter;
  };
  const pass = globalThis.GPUComputePassEncoder?.prototype;
  if (pass !== undefined) {
    const dispatch = pass.dispatchWorkgroups;
    pass.dispatchWorkgroups = function (...args) {
      held.dispatches++;
      return dispatch.apply(this, args);
    };
  }
  return held;
}
