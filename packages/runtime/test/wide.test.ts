/** @file More workgroups than an axis of a device takes. */
import { afterAll, describe, expect, it } from 'vitest';
import { bmm, Graph, lora, openDevice, RuntimeError, WebGpuEngine } from '../src/index.ts';
import { launch } from '../src/webgpu/launch.ts';

const engine = new WebGpuEngine(await openDevice());
afterAll(() => engine.dispose());

const COUNT = 70_000;

describe('a long axis is spread', () => {
  it('along x: a product of each of 70,000 pairs of matrices, and nothing behind the last', async () => {
    const g = new Graph();
    g.output('out', bmm(g.input('a', [COUNT, 2, 2]), g.input('b', [COUNT, 2, 2])));
    const plan = await engine.compile(g);
    const a = Float32Array.from({ length: 4 * COUNT }, (_, i) => (i % 7) - 3);
    const b = Float32Array.from({ length: 4 * COUNT }, (_, i) => (i % 11) - 5);
    const { out } = await plan.run({ a, b }, ['out']);
    const want = Float32Array.from({ length: 4 * COUNT }, (_, i) => {
      const [z, r, c] = [4 * Math.floor(i / 4), Math.floor((i % 4) / 2), i % 2];
      return a[z + 2 * r]! * b[z + c]! + a[z + 2 * r + 1]! * b[z + 2 + c]!;
    });
    expect(out).toEqual(want);
    plan.dispose();
  });

  it('along y: an adapter on 70,000 rows', async () => {
    const g = new Graph();
    const x = g.input('x', [COUNT, 2]);
    g.output('out', lora(x, g.input('base', [COUNT, 4]), { a: g.input('a', [1, 2]), b: g.input('b', [4, 1]), rank: 1, ends: [4], scales: [0.5] }));
    const plan = await engine.compile(g);
    const rows = Float32Array.from({ length: 2 * COUNT }, (_, i) => (i % 13) - 6);
    const base = Float32Array.from({ length: 4 * COUNT }, (_, i) => i % 17);
    const { out } = await plan.run({ x: rows, base, a: Float32Array.of(1, 2), b: Float32Array.of(1, -2, 3, 4) }, ['out']);
    const want = base.map((y, i) => {
      const r = Math.floor(i / 4);
      return y + 0.5 * (rows[2 * r]! + 2 * rows[2 * r + 1]!) * [1, -2, 3, 4][i % 4]!;
    });
    expect(out).toEqual(want);
    plan.dispose();
  });

  it('and refused where two are long', () => {
    const spec = (workgroups: readonly [number, number, number]) => () => launch({ label: 'large', inputs: {}, outputs: {}, uniforms: {}, workgroupSize: [1], body: '', workgroups });
    for (const groups of [[70_000, 70_000, 1], [70_000, 1, 2], [1, 70_000, 2], [1, 1, 70_000]] as const) expect(spec(groups)).toThrow(expect.objectContaining({ code: 'limit', argument: 'large', name: RuntimeError.name }));
    expect(spec([65_535, 65_535, 65_535])().workgroups).toEqual([65_535, 65_535, 65_535]);
    expect(spec([3, 65_536, 1])().workgroups).toEqual([3, 65_535, 2]);
  });
});
