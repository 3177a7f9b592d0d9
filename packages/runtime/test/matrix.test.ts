import { afterAll, expect, it } from 'vitest';
import { bmm, type Graph, linear, matmul, openDevice, ReferenceEngine, type Tensor, WebGpuEngine } from '../src/index.ts';
import type { MatrixVariant } from '../src/webgpu/kernels/matmul-matrix.ts';
import { compilePlan, type GpuPlan } from '../src/webgpu/plan.ts';
import { type Case, type CaseContext, PoisonedEngine, runCase, worst } from './harness.ts';

/** Operands here are half floats already, so that only the order of the sums differs: as every f32 kernel, relative to 1 + |value|. */
const TOLERANCE = 3e-5;

const device = await openDevice({ experimental: true });
afterAll(() => device.dispose());

class MatrixEngine extends PoisonedEngine {
  readonly variant: MatrixVariant;

  constructor(variant: MatrixVariant) {
    super(device, { cooperative: true, matmulPrecision: 'f16' });
    this.variant = variant;
  }

  override compile(graph: Graph): Promise<GpuPlan> {
    return compilePlan(this, graph, { ...this.context, tuned: () => this.variant });
  }
}

/** Numbers of eleven bits: halves hold them. */
function halves(ctx: CaseContext, name: string, shape: readonly number[]): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  return ctx.graph.reshape(ctx.constant(name, Float32Array.from({ length: n }, () => (ctx.random.integer(2047) - 1023) / 512)), shape);
}

const sizes = [[1, 16, 32, 16], [1, 4, 4, 4], [2, 128, 64, 128], [1, 132, 36, 200], [1, 68, 100, 12], [3, 64, 32, 64]] as const;

const cases: [string, Case][] = [
  ...([[false, true], [false, false], [true, false], [true, true]] as const).flatMap(([transposeA, transposeB]) =>
    sizes.map(([batch, m, k, n]): [string, Case] => [
      `${batch} x ${m} x ${k} x ${n} ${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'}`,
      (ctx) => {
        const a = halves(ctx, 'a', transposeA ? [batch, k, m] : [batch, m, k]);
        const b = halves(ctx, 'b', transposeB ? [batch, n, k] : [batch, k, n]);
        ctx.graph.output('y', bmm(a, b, { transposeA, transposeB, alpha: 0.5, residual: ctx.normal('residual', [batch, m, n]) }));
      },
    ])),
  ['bias, activation and residual', (ctx) => ctx.graph.output('y', matmul(halves(ctx, 'a', [40, 64]), halves(ctx, 'b', [72, 64]), { transposeB: true, bias: ctx.normal('bias', [72]), activation: 'silu', residual: ctx.normal('residual', [40, 72]) }))],
  ...([4, 8] as const).map((bits): [string, Case] => [`a weight in ${bits} bits`, (ctx) => {
    const [m, n, k] = [33, 72, 96];
    const data = ctx.integers('data', [n, (k * bits) / 32], Array.from({ length: (n * k * bits) / 32 }, () => ctx.random.word()), 'u32');
    const scales = ctx.graph.reshape(ctx.constant('scales', new Float32Array(n * 3).fill(1 / 64)), [n, 3]);
    ctx.graph.output('y', linear(halves(ctx, 'x', [m, k]), { format: 'nbits', bits, blockSize: 32, rows: n, columns: k, data, scales }));
  }]),
];

const everyCase = (['matrix64', 'matrix128'] as const).flatMap((variant) => cases.map(([name, build]) => ({ variant, name, build })));

/** Only a GPU with matrix units can say anything here; CPUs that play one have none. */
it.skipIf(!device.adapter.matrixUnits).each(everyCase)('$variant: $name', async ({ variant, build }) => {
  const { error, where } = worst(await runCase(new MatrixEngine(variant), build, 5), await runCase(new ReferenceEngine(), build, 5));
  expect(error, where).toBeLessThan(TOLERANCE);
});

it.skipIf(device.adapter.matrixUnits)('half products are refused where there are no matrix units', () => {
  expect(() => new WebGpuEngine(device, { matmulPrecision: 'f16' })).toThrow(/needs matrix units/);
});
