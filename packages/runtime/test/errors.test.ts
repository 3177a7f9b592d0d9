import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { gptBatch, gptConstants, gptStep, gptTokens, type GptSizes } from '../bench/gpt.ts';
import { activate, add, backward, columnSumInto, type Engine, Graph, HYPER_LENGTH, layerNorm, matmul, openDevice, packHyper, ParameterStore, PhiloxStream, ReferenceEngine, rmsNorm, RuntimeError, swiglu, type Tensor, WebGpuEngine } from '../src/index.ts';

const SMALL: GptSizes = { vocabulary: 64, width: 32, layers: 2, heads: 2, hidden: 64, batch: 2, length: 16 };

/** The error that a promise rejects with, or a failure after a minute: nothing may hang. */
async function errorOf(promise: Promise<unknown>): Promise<RuntimeError> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const outcome = await Promise.race([
    promise.then(() => 'it went through', (e: unknown) => e),
    new Promise((r) => (timer = setTimeout(() => r('it hangs'), 60_000))),
  ]);
  clearTimeout(timer);
  expect(outcome).toBeInstanceOf(RuntimeError);
  return outcome as RuntimeError;
}

describe('errors', () => {
  it('a device lost in the middle of a step is one typed error, and a new device carries on', async () => {
    const { ids, targets } = gptTokens(SMALL, new PhiloxStream(1));
    const engine = new WebGpuEngine(await openDevice());
    const plan = await engine.compile(gptStep(engine, SMALL).graph);
    await plan.run({ ...gptConstants(SMALL), ...gptBatch(ids, targets, 1) }, ['logp']);
    const step = plan.run(gptBatch(ids, targets, 2), ['logp']);
    engine.device.gpu.destroy();
    const error = await errorOf(step);
    expect(['device-lost', 'disposed']).toContain(error.code);
    expect(error.remedy).toMatch(/new device/);
    expect(['device-lost', 'disposed']).toContain((await errorOf(plan.run(gptBatch(ids, targets, 3), ['logp']))).code);
    expect(() => engine.createStorage('x', 4)).toThrow(RuntimeError);

    const next = new WebGpuEngine(await openDevice());
    const again = await next.compile(gptStep(next, SMALL).graph);
    const { logp } = await again.run({ ...gptConstants(SMALL), ...gptBatch(ids, targets, 1) }, ['logp']);
    expect(logp!.every((x) => x < 0 && Number.isFinite(x))).toBe(true);
    next.dispose();
  });

  it('shapes that disagree name the operation and both shapes', () => {
    const g = new Graph();
    const [a, b] = [g.input('a', [3, 5]), g.input('b', [4, 7])];
    expect(() => matmul(a, b)).toThrow(/matmul.*5.*a f32\[3, 5\].*4.*b f32\[4, 7\]/);
  });

  it('what exceeds the device is refused before any memory is asked for, with operation and shape', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const g = new Graph();
    const rows = Math.ceil(engine.device.adapter.maxStorageBufferBindingSize / 4 / 4096) + 1;
    g.output('y', matmul(g.input('a', [rows, 16]), g.input('b', [16, 4096])));
    const buffers = engine.counters.buffers;
    const error = await errorOf(engine.compile(g));
    expect(error.code).toBe('limit');
    expect(error.message).toContain(`matmul`);
    expect(error.message).toContain(`f32[${rows}, 4096]`);
    expect(engine.counters.buffers).toBe(buffers);
    engine.dispose();
  });

  it('memory that is not there gives the operation with the largest tensor, and takes nothing', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const g = new Graph();
    g.output('y', matmul(g.input('a', [300, 16]), g.input('b', [16, 40])));
    // The shaders are compiled before, so that what follows asks only for memory.
    (await engine.compile(g)).dispose();
    const { gpu } = engine.device;
    const [pop, bytes] = [gpu.popErrorScope.bind(gpu), engine.counters.bytes];
    // Drivers of a CPU promise more than there is, so the device's answer is made here; scopes are taken innermost first.
    let scopes = 0;
    gpu.popErrorScope = async () => (await pop(), scopes++ === 0 ? ({ message: 'out of memory' } as GPUOutOfMemoryError) : null);
    const error = await errorOf(engine.compile(g));
    expect([error.code, error.message.includes('f32[300, 40] of matmul')]).toEqual(['out-of-memory', true]);
    expect(engine.counters.bytes).toBe(bytes);
    gpu.popErrorScope = pop;
    await (await engine.compile(g)).run({ a: new Float32Array(4800), b: new Float32Array(640) }, ['y']);
    engine.dispose();
  });

  it('a shader that is not valid gives its line, and leaves the engine usable', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const error = await errorOf(engine.pipeline('broken', '@compute @workgroup_size(1)\nfn main() { let x: f32 = 1u; }'));
    expect([error.code, error.argument]).toEqual(['compile', 'broken']);
    expect(error.message).toMatch(/line 2/);
    const g = new Graph();
    g.output('y', matmul(g.input('a', [1, 2]), g.input('b', [2, 1])));
    const plan = await engine.compile(g);
    expect(Array.from((await plan.run({ a: Float32Array.of(2, 3), b: Float32Array.of(5, 7) }, ['y']))['y']!)).toEqual([31]);
    engine.dispose();
  });

  it('inputs of another size, unknown inputs and outputs, and plans disposed of are told', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const g = new Graph();
    g.output('y', matmul(g.input('a', [1, 2]), g.input('b', [2, 1])));
    const plan = await engine.compile(g);
    expect((await errorOf(plan.run({ a: new Float32Array(3) }))).message).toContain('a f32[1, 2]');
    expect((await errorOf(plan.run({ c: new Float32Array(3) }))).code).toBe('input');
    expect((await errorOf(plan.run({}, ['z']))).code).toBe('input');
    plan.dispose();
    expect((await errorOf(plan.run({}))).code).toBe('disposed');
    engine.dispose();
    expect((await errorOf(engine.compile(g))).code).toBe('disposed');
  });

  it.each([NaN, Infinity])('a gradient with %d changes no parameter and is told by its norm', async (bad) => {
    const engine = new WebGpuEngine(await openDevice());
    const store = new ParameterStore(engine, 'p', [{ name: 'p', shape: [4, 64] }]);
    store.setTrainable(true);
    const values = Float32Array.from({ length: 256 }, (_, i) => Math.sin(i));
    store.write('p', values);
    const g = new Graph();
    g.output('norm2', store.recordAdamW(g, g.input('hyper', [HYPER_LENGTH])));
    const plan = await engine.compile(g);
    const hyper = packHyper({ learningRate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, maxNorm: 1, step: 1, gradScale: 1 });
    store.storage('gradients').write(Float32Array.of(bad), 17);
    expect(Number.isFinite((await plan.run({ hyper }, ['norm2']))['norm2']![0])).toBe(false);
    expect(await store.read('p')).toEqual(values);
    expect(await store.read('p', 'm')).toEqual(new Float32Array(256));
    // The bad gradient is gone: the next one is taken.
    store.storage('gradients').write(new Float32Array(256).fill(1));
    expect((await plan.run({ hyper }, ['norm2']))['norm2']![0]).toBe(256);
    expect((await store.read('p'))[0]).toBeCloseTo(-0.1, 4);
    engine.dispose();
  });

  it.each([['webgpu', async () => new WebGpuEngine(await openDevice())], ['float64', async () => new ReferenceEngine()]] as const)('assertFinite names the first operation that makes a NaN, and the parameter that has one: %s', async (_, open) => {
    const engine: Engine = await open();
    const store = new ParameterStore(engine, 'p', [{ name: 'w', shape: [4, 64] }]);
    store.setTrainable(true);
    store.write('w', new Float32Array(256).fill(1));
    const g = new Graph();
    const hidden = activate(matmul(g.input('x', [3, 64]), store.tensor(g, 'w'), { transposeB: true }), 'silu');
    // Squared eleven times: more than float32 holds, and more than float64.
    let big = matmul(g.input('big', [4, 3]), hidden);
    for (let i = 0; i < 11; i++) big = matmul(big, big);
    g.output('y', add(hidden, matmul(hidden, big)));
    store.recordAdamW(g, g.input('hyper', [HYPER_LENGTH]));
    const plan = await engine.compile(g);
    const x = new Float32Array(192).fill(0.01);
    const hyper = packHyper({ learningRate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxNorm: 1, step: 1, gradScale: 1 });
    await plan.assertFinite({ x, big: new Float32Array(12), hyper });
    const overflow = await errorOf(plan.assertFinite({ big: new Float32Array(12).fill(1e30) }));
    expect([overflow.code, overflow.argument]).toEqual(['not-finite', 'matmul']);
    expect(overflow.message).toMatch(/matmul makes matmul f32\[4, 4\] with Infinity at element 0 of 16 from matmul f32\[4, 4\], matmul f32\[4, 4\], which are finite/);
    x[70] = NaN;
    expect((await errorOf(plan.assertFinite({ x, big: new Float32Array(12) }))).message).toMatch(/matmul reads x f32\[3, 64\] with NaN at element 70 of 192/);
    store.write('w', new Float32Array(256).fill(Infinity));
    expect((await errorOf(plan.assertFinite({ x: new Float32Array(192) }))).message).toMatch(/matmul reads w f32\[4, 64\] with Infinity/);
    engine.dispose();
  });

  it.each([
    ['add', (g: Graph, x: Tensor, p: Tensor) => add(x, p)],
    ['an activation', (g: Graph, x: Tensor, p: Tensor) => add(activate(p, 'silu'), x)],
    ['swiglu', (g: Graph, x: Tensor, p: Tensor) => swiglu(g.reshape(add(x, p), [2, 6]))],
    ['a residual of a product', (g: Graph, x: Tensor, p: Tensor) => matmul(x, x, { transposeB: true, residual: g.reshape(p, [3, 3]) })],
    ['itself, twice', (g: Graph, x: Tensor, p: Tensor) => add(p, add(x, p))],
  ] as const)('a parameter has its gradient wherever it stands: %s', async (name, record) => {
    const engine = new ReferenceEngine();
    const square = name.startsWith('a residual');
    const shape = square ? [3, 3] : [3, 4];
    const store = new ParameterStore(engine, 'p', [{ name: 'p', shape }]);
    const size = shape[0]! * shape[1]!;
    const values = Float64Array.from({ length: size }, (_, i) => Math.sin(3 * i) / 2);
    store.write('p', values);
    store.setTrainable(true);
    const g = new Graph();
    const x = g.input('x', shape);
    const y = record(g, x, store.tensor(g, 'p'));
    g.output('y', y);
    const dy = g.input('dy', y.shape);
    const asked = backward(g, [[y, dy]], [x]);
    expect(asked.has(x)).toBe(true);
    const plan = await engine.compile(g);
    const outputs = y.shape.reduce((a, b) => a * b);
    const seed = Float64Array.from({ length: outputs }, (_, i) => Math.cos(i));
    const data = { x: Float64Array.from({ length: size }, (_, i) => Math.cos(2 * i)), dy: seed };
    const loss = async () => Array.from((await plan.run(data, ['y']))['y']!).reduce((sum, v, i) => sum + v * seed[i]!, 0);
    await loss();
    const gradient = Float64Array.from(await store.storage('gradients').read());
    for (let i = 0; i < size; i++) {
      const at = async (h: number) => {
        store.write('p', values.map((v, j) => (j === i ? v + h : v)));
        return loss();
      };
      expect(gradient[i], `element ${i}`).toBeCloseTo(((await at(1e-5)) - (await at(-1e-5))) / 2e-5, 7);
    }
  });

  it.each([
    ['bias of matmul', (x: Tensor, c: Tensor) => matmul(x, x, { transposeB: true, bias: c })],
    ['weight of rmsNorm', (x: Tensor, c: Tensor) => rmsNorm(x, c, 1e-6)],
    ['bias of layerNorm', (x: Tensor, c: Tensor) => layerNorm(x, x.graph.input('w', [4]), c, 1e-6)],
  ] as const)('a computed %s that somebody wants the gradient of is refused, not forgotten', (argument, record) => {
    const engine = new ReferenceEngine();
    const store = new ParameterStore(engine, 'p', [{ name: 'p', shape: [4] }]);
    store.setTrainable(true);
    const g = new Graph();
    const x = g.input('x', [4, 4]);
    const y = record(x, activate(store.tensor(g, 'p'), 'silu'));
    expect(() => backward(g, [[y, g.input('dy', [4, 4])]])).toThrow(expect.objectContaining({ code: 'autograd', argument }));
  });

  it('a tensor of another graph is refused', () => {
    const [g, other] = [new Graph(), new Graph()];
    const [a, b] = [g.input('a', [2]), other.input('b', [2])];
    expect(() => add(a, b)).toThrow(expect.objectContaining({ code: 'input', argument: 'add', message: expect.stringMatching(/b f32\[2\] of another graph/) }));
    expect(() => g.output('b', b)).toThrow(/another graph/);
  });

  it('what was disposed of is not read, written or run on', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const store = new ParameterStore(engine, 'p', [{ name: 'p', shape: [4] }]);
    store.setTrainable(true);
    const gradients = store.storage('gradients');
    const g = new Graph();
    g.output('norm2', store.recordSquaredNorm(g));
    const plan = await engine.compile(g);
    expect((await plan.run({}, ['norm2']))['norm2']![0]).toBe(0);
    store.setTrainable(false);
    const codes = [await errorOf(gradients.read()), await errorOf(plan.run({}, ['norm2'])), await errorOf((async () => gradients.write(new Float32Array(4)))())].map(({ code, argument }) => `${code} ${argument}`);
    expect(new Set(codes)).toEqual(new Set([`disposed ${gradients.name}`]));
    engine.dispose();
  });

  it('a wrong name of an output is told before anything runs', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const store = new ParameterStore(engine, 'p', [{ name: 'p', shape: [4] }]);
    store.setTrainable(true);
    const g = new Graph();
    // More dispatches than one submission has, so that the first would have run.
    for (let i = 0; i < 600; i++) columnSumInto(store.tensor(g, 'p').grad!, g.view(store.values, 0, [1, 4]));
    const plan = await engine.compile(g);
    store.write('p', Float32Array.of(1, 2, 3, 4));
    expect((await errorOf(plan.run({}, ['typo']))).argument).toBe('typo');
    expect((await errorOf(plan.run({}, [], { typo: [] }))).argument).toBe('typo');
    expect(await store.read('p', 'gradients')).toEqual(new Float32Array(4));
    await plan.run({});
    expect(await store.read('p', 'gradients')).toEqual(Float32Array.of(600, 1200, 1800, 2400));
    engine.dispose();
  });

  it('a plan that cannot be made leaves neither memory nor an error scope behind', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const g = new Graph();
    g.output('y', add(g.input('a', [2]), g.input('b', [2])));
    const before = engine.counters.bytes;
    const { gpu } = engine.device;
    const createBindGroup = gpu.createBindGroup.bind(gpu);
    gpu.createBindGroup = () => {
      throw new RuntimeError('out-of-memory', 'device', 'as if memory had run out meanwhile.', '');
    };
    expect((await errorOf(engine.compile(g))).code).toBe('out-of-memory');
    gpu.createBindGroup = createBindGroup;
    expect(engine.counters.bytes).toBe(before);
    // With no scope left, the device tells of what it refuses.
    const told = new Promise((resolve) => gpu.addEventListener('uncapturederror', resolve, { once: true }));
    const encoder = gpu.createCommandEncoder();
    const small = engine.buffer('small', 16, GPUBufferUsage.COPY_DST);
    encoder.copyBufferToBuffer(small, 0, small, 0, 64);
    engine.submit(encoder.finish());
    await gpu.queue.onSubmittedWorkDone();
    expect(await Promise.race([told, new Promise((r) => setTimeout(() => r('nothing'), 5_000))])).not.toBe('nothing');
    expect(() => engine.check()).toThrow(/refused/);
    const plan = await engine.compile(g);
    expect(Array.from((await plan.run({ a: Float32Array.of(1, 2), b: Float32Array.of(3, 4) }, ['y']))['y']!)).toEqual([4, 6]);
    engine.dispose();
  });

  it('a command that the device refuses is a typed error of the next call, once', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const g = new Graph();
    g.output('y', matmul(g.input('a', [1, 2]), g.input('b', [2, 1])));
    const plan = await engine.compile(g);
    const encoder = engine.device.gpu.createCommandEncoder();
    const small = engine.buffer('small', 16, GPUBufferUsage.COPY_DST);
    encoder.copyBufferToBuffer(small, 0, small, 0, 64);
    engine.submit(encoder.finish());
    await engine.device.gpu.queue.onSubmittedWorkDone();
    await new Promise((r) => setTimeout(r, 50));
    const error = await errorOf(plan.run({ a: Float32Array.of(2, 3), b: Float32Array.of(5, 7) }, ['y']));
    expect([error.code, error.argument]).toEqual(['validation', 'device']);
    expect(Array.from((await plan.run({ a: Float32Array.of(2, 3), b: Float32Array.of(5, 7) }, ['y']))['y']!)).toEqual([31]);
    engine.dispose();
  });

  it('memory for a storage that is not there is told by the next call', async () => {
    const engine = new WebGpuEngine(await openDevice());
    // Drivers of a CPU promise more than there is, so the device's answer is made here.
    const event = Object.assign(new Event('uncapturederror'), { error: new GPUOutOfMemoryError('no room for gpt.values') });
    engine.device.gpu.dispatchEvent(event);
    expect(() => engine.createStorage('gpt.gradients', 4)).toThrow(/no room for gpt.values/);
    engine.device.gpu.dispatchEvent(event);
    expect((await errorOf(engine.compile(new Graph()))).code).toBe('out-of-memory');
    engine.createStorage('x', 4).dispose();
    engine.dispose();
  });

  it('two devices of one process work beside each other, and one outlives the other', async () => {
    const engines = await Promise.all([1, 2].map(async () => new WebGpuEngine(await openDevice())));
    const plans = await Promise.all(engines.map(async (engine, i) => {
      const g = new Graph();
      g.output('y', matmul(g.input('a', [1, 2]), g.input('b', [2, 1]), { alpha: i + 1 }));
      return engine.compile(g);
    }));
    const run = (i: number) => plans[i]!.run({ a: Float32Array.of(2, 3), b: Float32Array.of(5, 7) }, ['y']).then((out) => out['y']![0]);
    expect(await Promise.all([run(0), run(1)])).toEqual([31, 62]);
    engines[0]!.dispose();
    expect((await errorOf(run(0))).code).toBe('disposed');
    expect(await run(1)).toBe(62);
    engines[1]!.dispose();
  });

  it('a process ends by itself once the device is disposed of', () => {
    const source = fileURLToPath(new URL('../src/index.ts', import.meta.url));
    const program = `import { openDevice, WebGpuEngine, Graph, activate } from ${JSON.stringify(source)};
const engine = new WebGpuEngine(await openDevice());
const g = new Graph();
g.output('y', activate(g.input('x', [4]), 'silu'));
const plan = await engine.compile(g);
console.log(Array.from((await plan.run({ x: new Float32Array(4) }, ['y'])).y).join());
engine.dispose();`;
    const root = fileURLToPath(new URL('../../..', import.meta.url));
    const { status, stdout, signal } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { cwd: root, encoding: 'utf8', timeout: 180_000 });
    expect({ status, signal, stdout: stdout.trim() }).toEqual({ status: 0, signal: null, stdout: '0,0,0,0' });
  }, 200_000);
});
