/** @file Inputs from storage and outputs into storage, on the device alone. */
import { afterAll, describe, expect, it } from 'vitest';
import { add, type Engine, Graph, openDevice, ReferenceEngine, WebGpuEngine } from '../src/index.ts';

const device = await openDevice();
afterAll(() => device.dispose());
const engines: [string, Engine][] = [['WebGPU', new WebGpuEngine(device)], ['the float64 reference', new ReferenceEngine()]];

describe.each(engines)('a plan on %s', (_name, engine) => {
  it('is filled from parts of storage and fills others', async () => {
    const from = engine.createStorage('from', 12);
    const to = engine.createStorage('to', 12);
    from.write(Float32Array.from({ length: 12 }, (_, i) => i));
    const g = new Graph();
    g.output('sum', add(g.input('a', [2, 3]), g.input('b', [2, 3])));
    const plan = await engine.compile(g);
    const part = (offset: number, length: number) => ({ storage: from, offset, length });
    await plan.run({ a: Float32Array.of(100, 200, 300, 400, 500, 600), b: [part(9, 2), part(1, 4)] }, [], { sum: [{ storage: to, offset: 8, length: 4 }, { storage: to, offset: 0, length: 1 }] });
    expect([...(await to.read())]).toEqual([503, 0, 0, 0, 0, 0, 0, 0, 109, 210, 301, 402]);
    // What parts leave of an input stays.
    const { sum } = await plan.run({ b: [part(0, 2)] }, ['sum']);
    expect([...sum!]).toEqual([100, 201, 301, 402, 503, 604]);
    await expect(plan.run({ a: [part(8, 5)] })).rejects.toMatchObject({ code: 'shape', argument: 'from' });
    await expect(plan.run({ a: [part(0, 7)] })).rejects.toMatchObject({ code: 'shape' });
    await expect(plan.run({ a: [{ storage: engine.createStorage('i', 6, 'i32'), offset: 0, length: 6 }] })).rejects.toMatchObject({ code: 'dtype' });
    await expect(plan.run({}, [], { none: [] })).rejects.toMatchObject({ code: 'input', argument: 'none' });
    plan.dispose();
  });
});

it('storage of another engine is refused', async () => {
  const g = new Graph();
  const a = g.input('a', [2]);
  g.output('sum', add(a, a));
  const plan = await engines[0]![1].compile(g);
  await expect(plan.run({ a: [{ storage: new ReferenceEngine().createStorage('far', 2), offset: 0, length: 2 }] })).rejects.toMatchObject({ code: 'input', argument: 'far' });
});
