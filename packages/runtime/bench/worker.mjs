/** @file One contestant in a process of its own; prepares, checks and times what the parent asks. */
import { performance } from 'node:perf_hooks';

const [, , name] = process.argv;
const modules = {
  trimpi: async () => (await import('./contestants/trimpi.ts')).open(),
  'trimpi tuned': async () => (await import('./contestants/trimpi.ts')).open(true),
  'public-design WGSL': async () => (await import('./contestants/public-wgsl.mjs')).open(),
  'jax-js WebGPU': async () => (await import('./contestants/jax.mjs')).open('webgpu'),
  'jax-js WebAssembly': async () => (await import('./contestants/jax.mjs')).open('wasm'),
  'TensorFlow.js WebGPU': async () => (await import('./contestants/tfjs.mjs')).open(),
  'ONNX Runtime CPU': async () => (await import('./contestants/onnx.mjs')).open(),
};
/** Elements of a result that are compared: enough to see a wrong one, few enough for a message. */
const SAMPLES = 2000;
let contestant;
let current;

const handlers = {
  async open() {
    contestant = await modules[name]();
    return { adapter: contestant.adapter, facts: contestant.facts };
  },
  /** Prepares a case and runs it `steps` times; answers with a sample of the result, or nothing where it takes no part. */
  async prepare({ c, steps }) {
    current = await contestant.prepare(c);
    if (current === undefined) return {};
    const start = performance.now();
    for (let i = 0; i < steps; i++) await current.run();
    await current.sync();
    const firstMs = performance.now() - start;
    const result = await current.result();
    const sample = Array.from({ length: Math.min(SAMPLES, result.length) }, (_, i) => result[Math.floor((i * result.length) / Math.min(SAMPLES, result.length))]);
    const before = contestant.held?.dispatches ?? 0;
    await current.run();
    await current.sync();
    return { length: result.length, sample, firstMs, dispatches: current.dispatches ?? (contestant.held?.device === undefined ? undefined : contestant.held.dispatches - before) };
  },
  /** Milliseconds of one run, from `runs` in a row and one wait. */
  async time({ runs }) {
    const start = performance.now();
    for (let i = 0; i < runs; i++) await current.run();
    await current.sync();
    return (performance.now() - start) / runs;
  },
  async drop() {
    await current?.dispose?.();
    current = undefined;
  },
  async close() {
    await contestant?.dispose?.();
    setImmediate(() => process.disconnect());
  },
};

process.on('message', async ({ id, call, ...args }) => {
  try {
    process.send({ id, value: await handlers[call](args) });
  } catch (error) {
    process.send({ id, error: String(error?.stack ?? error).split('\n').slice(0, 4).join(' | ') });
  }
});
