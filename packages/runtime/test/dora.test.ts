/** @file DoRA with dropout by the formula of PEFT (`DoraLinearLayer.forward`), written out in float64. */
import { describe, expect, it } from 'vitest';
import { backward, dropout, linear, ReferenceEngine, type Tensor } from '../src/index.ts';
import { runCase } from './harness.ts';

const [M, K, N, R, S] = [7, 9, 11, 3, 0.75];

/** a b^T: [rows, inner], [columns, inner] to [rows, columns]. */
function times(a: ArrayLike<number>, b: ArrayLike<number>, rows: number, columns: number, inner: number): Float64Array {
  return Float64Array.from({ length: rows * columns }, (_, at) => {
    let sum = 0;
    for (let i = 0; i < inner; i++) sum += a[Math.floor(at / columns) * inner + i]! * b[(at % columns) * inner + i]!;
    return sum;
  });
}

/** [rows, columns] to [columns, rows]. */
function transpose(a: ArrayLike<number>, rows: number, columns: number): Float64Array {
  return Float64Array.from({ length: rows * columns }, (_, at) => a[(at % rows) * columns + Math.floor(at / rows)]!);
}

describe('DoRA with dropout', () => {
  it('is W x + bias + (m / |W + s B A| - 1) W d + m / |W + s B A| s B A d of the dropped inputs d, with the lengths constant', async () => {
    const out = await runCase(new ReferenceEngine(), (ctx) => {
      const { graph } = ctx;
      const shown = (name: string, t: Tensor) => (graph.output(name, t), t);
      const x = shown('x.', ctx.normal('x', [M, K]));
      const parts = { a: ctx.normal('a', [R, K]), b: ctx.normal('b', [N, R]), m: ctx.normal('m', [N]), w: ctx.normal('w', [N, K]), bias: ctx.normal('bias', [N]) };
      for (const [name, t] of Object.entries(parts)) shown(`${name}.`, t);
      const drop = { p: 0.4, site: 1, key: ctx.integers('key', [2], [5, 6], 'u32') };
      shown('d.', dropout(x, drop));
      const trained = (t: Tensor) => ({ ...t, grad: ctx.target(`d${t.name}`, t.shape, () => 0) });
      const y = shown('y.', linear(x, parts.w, { bias: parts.bias, factors: { a: trained(parts.a), b: trained(parts.b), magnitude: trained(parts.m), rank: R, ends: [N], scales: [S], dropout: drop } }));
      backward(graph, [[y, shown('dy.', ctx.normal('dy', [M, N]))]]);
    }, 3);
    const get = (name: string) => out[name]!;
    const [x, d, a, b, m, w, dy] = ['x.', 'd.', 'a.', 'b.', 'm.', 'w.', 'dy.'].map(get) as [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
    expect(d.filter((v) => v === 0).length).toBeGreaterThan(10);
    const ba = times(b, transpose(a, R, K), N, K, R);
    const factor = Float64Array.from({ length: N }, (_, n) => m[n]! / Math.hypot(...Array.from({ length: K }, (_, k) => w[n * K + k]! + S * ba[n * K + k]!)));
    const [wx, wd, low] = [times(x, w, M, N, K), times(d, w, M, N, K), times(d, ba, M, N, K)];
    const close = (got: ArrayLike<number>, want: ArrayLike<number>) => Array.from(want).forEach((v, i) => expect(Math.abs(got[i]! - v)).toBeLessThan(1e-9));
    close(get('y.'), wx.map((v, i) => v + get('bias.')[i % N]! + (factor[i % N]! - 1) * wd[i]! + factor[i % N]! * S * low[i]!));
    // d m = sum over rows of dy (W d + s B A d) / length; B and A take what LoRA's would from m / length dy.
    close(get('dm'), Float64Array.from({ length: N }, (_, n) => Array.from({ length: M }, (_, i) => (dy[i * N + n]! * (wd[i * N + n]! + S * low[i * N + n]!) * factor[n]!) / m[n]!).reduce((p, q) => p + q, 0)));
    const scaled = dy.map((v, i) => S * factor[i % N]! * v);
    close(get('db'), times(transpose(scaled, M, N), transpose(times(d, a, M, R, K), M, R), N, R, M));
    close(get('da'), times(transpose(times(scaled, transpose(b, N, R), M, R, N), M, R), transpose(d, M, K), R, K, M));
  });
});
