import { afterAll, describe, expect, it } from 'vitest';
import { Graph, KernelTuner, matmul, openDevice, PhiloxStream, WebGpuEngine, type TuningStore } from '../src/index.ts';

const device = await openDevice();
afterAll(() => device.dispose());

/** y = A B for [m, 20] x [20, 28], and the labels of the kernels that made it. */
async function product(engine: WebGpuEngine, m: number) {
  const g = new Graph();
  g.output('y', matmul(g.input('a', [m, 20]), g.input('b', [20, 28])));
  const plan = await engine.compile(g);
  const random = new PhiloxStream(2);
  const normal = (n: number) => Float32Array.from({ length: n }, () => random.normal());
  const { y } = await plan.run({ a: normal(m * 20), b: normal(560) }, ['y']);
  const kernels = plan.steps.map((s) => s.label);
  plan.dispose();
  return { y: y!, kernels };
}

const memory = (text?: string) => {
  const store = { text, saves: 0, load: async () => store.text, save: async (t: string) => void ((store.text = t), store.saves++) };
  return store satisfies TuningStore;
};

describe('the tuner', () => {
  it('measures every variant once for a class of shapes, takes the fastest, keeps it, and leaves no memory behind', async () => {
    const store = memory();
    const tuner = new KernelTuner(store);
    const engine = new WebGpuEngine(device, { tuner, portable: true, cooperative: false });
    const first = await product(engine, 17);
    expect(engine.liveBuffers()).toEqual([]);
    expect([tuner.measured, store.saves]).toEqual([1, 1]);
    const [choices] = Object.values(tuner.choices);
    expect(Object.keys(choices!)).toEqual(['matmul.NN.v.32.32.32.1']);
    const { variant, microseconds } = choices!['matmul.NN.v.32.32.32.1']!;
    expect(Object.keys(microseconds)).toEqual(['tile', 'scalar', 'block32', 'block64', 'block128']);
    expect(microseconds[variant]).toBe(Math.min(...Object.values(microseconds)));
    expect(first.kernels[0]).toContain(`matmul.${variant}`);

    // 17 and 25 rows are one class.
    await product(engine, 25);
    expect(tuner.measured).toBe(1);

    // Another process with what was saved measures nothing, and gives the same bits.
    const again = new KernelTuner(memory(store.text));
    const second = await product(new WebGpuEngine(device, { tuner: again, portable: true, cooperative: false }), 17);
    expect(again.measured).toBe(0);
    expect(second).toEqual(first);
  });

  it('takes what the saved choices say', async () => {
    const key = [device.adapter.vendor, device.adapter.architecture, device.adapter.description].join('; ');
    for (const variant of ['scalar', 'block32']) {
      const text = JSON.stringify({ format: 1, adapters: { [key]: { 'matmul.NN.v.32.32.32.1': { variant, microseconds: {} } } } });
      const { kernels } = await product(new WebGpuEngine(device, { tuner: new KernelTuner(memory(text)) }), 17);
      expect(kernels[0]).toContain(`matmul.${variant}`);
    }
  });

  it.each(['{', '{"format":2}', 'null'])('refuses saved choices that it cannot read: %s', async (text) => {
    await expect(product(new WebGpuEngine(device, { tuner: new KernelTuner(memory(text)) }), 17)).rejects.toMatchObject({ code: 'input', argument: 'tuning' });
  });
});
