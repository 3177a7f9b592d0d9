import { afterAll, expect, it } from 'vitest';
import { bmm, openDevice, ReferenceEngine } from '../src/index.ts';
import { type Case, runCase, VariantEngine, worst } from './harness.ts';

/** As in `kernels.test.ts`: f32 against f64, relative to 1 + |value|. */
const TOLERANCE = 3e-5;

const device = await openDevice();
afterAll(() => device.dispose());

/** Batches of one matrix and of several; less than a tile, one tile, edges beside tiles; a single row; inner sizes below and beside the depth of 16. */
const WHOLE = [[1, 4, 4, 4], [2, 128, 16, 128], [3, 36, 20, 68], [1, 132, 40, 72]] as const;
const ODD = [[1, 1, 1, 1], [2, 67, 13, 35], [1, 131, 37, 129]] as const;

/** Shaders of a tile differ by transposition and by whether sizes are whole vec4s; each is compiled once here, and each operand is fetched in both ways. */
it.each([
  ['block32', 'NN', WHOLE], ['block32', 'TT', ODD],
  ['block64', 'NT', WHOLE], ['block64', 'TN', WHOLE], ['block64', 'NN', ODD],
  ['block128', 'NT', WHOLE],
  ['sliced', 'NT', WHOLE], ['sliced', 'TN', WHOLE], ['sliced', 'NN', WHOLE],
] as const)('%s %s, at every edge', async (variant, flags, sizes) => {
  const engine = new VariantEngine(device, variant);
  const reference = new ReferenceEngine();
  const [transposeA, transposeB] = [flags[0] === 'T', flags[1] === 'T'];
  for (const [batch, m, k, n] of sizes) {
    const build: Case = (ctx) => {
      const a = ctx.normal('a', transposeA ? [batch, k, m] : [batch, m, k]);
      const b = ctx.normal('b', transposeB ? [batch, n, k] : [batch, k, n]);
      ctx.graph.output('y', bmm(a, b, { transposeA, transposeB, alpha: 0.7, residual: ctx.normal('residual', [batch, m, n]) }));
    };
    const { error, where } = worst(await runCase(engine, build, m), await runCase(reference, build, m));
    expect(error, `${batch} x ${m} x ${k} x ${n}: ${where}`).toBeLessThan(TOLERANCE);
  }
  // One shader for all sizes.
  expect(engine.counters.pipelines).toBe(1);
});
