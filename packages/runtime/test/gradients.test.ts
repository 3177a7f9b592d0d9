import { describe, expect, it } from 'vitest';
import { ReferenceEngine } from '../src/index.ts';
import { CASES } from './cases.ts';
import { type Case, runCase } from './harness.ts';

/** Shapes that only the tiles of a kernel need; the rule is the same as at small ones. */
const LARGE = /37x160|130x64|3x16x32|64x8x64|sample|adamw|decoding|columnSum|sumSquares/;

const engine = new ReferenceEngine();

/** Gradients of sum(y * dy) by central differences in float64, for every case that has an output y and gradients. */
async function check(build: Case, seed: number): Promise<number> {
  let checked = 0;
  const base = await runCase(engine, build, seed);
  const dy = base['y'] === undefined ? undefined : await inputOf(build, seed, 'dy');
  if (dy === undefined) return 0;
  const objective = (out: Record<string, ArrayLike<number>>) => Array.from(out['y']!).reduce((s, v, i) => s + v * dy[i]!, 0);
  for (const [key, gradient] of Object.entries(base)) {
    const name = key.slice(1);
    if (!key.startsWith('d') || !(await inputOf(build, seed, name))) continue;
    for (const i of [0, Math.floor(gradient.length / 3), gradient.length - 1]) {
      const h = 1e-3;
      const plus = objective(await runCase(engine, nudged(build, name, i, h), seed));
      const minus = objective(await runCase(engine, nudged(build, name, i, -h), seed));
      const numeric = (plus - minus) / (2 * h);
      expect(Math.abs(numeric - gradient[i]!) / (1 + Math.abs(numeric)), `${key}[${i}] ${gradient[i]} against ${numeric}`).toBeLessThan(2e-3);
      checked++;
    }
  }
  return checked;
}

async function inputOf(build: Case, seed: number, name: string): Promise<Float32Array | undefined> {
  let found: Float32Array | undefined;
  await runCase(engine, (ctx) => build({
    ...ctx,
    normal: (n, shape, scale) => {
      const t = ctx.normal(n, shape, scale);
      if (n === name) found = new Float32Array(0);
      return t;
    },
  }), seed);
  if (found === undefined) return undefined;
  const out = await runCase(engine, (ctx) => build({
    ...ctx,
    normal: (n, shape, scale) => {
      const t = ctx.normal(n, shape, scale);
      if (n === name) ctx.graph.output(`input:${n}`, t);
      return t;
    },
  }), seed);
  return Float32Array.from(out[`input:${name}`]!);
}

/** The same case with one element of one input moved. */
function nudged(build: Case, name: string, index: number, by: number): Case {
  return (ctx) => build({
    ...ctx,
    normal: (n, shape, scale) => ctx.normal(n, shape, scale, n === name ? { index, by } : undefined),
  });
}

describe('every backward rule against finite differences in float64', () => {
  it.each(CASES.filter(([name]) => !LARGE.test(name)))('%s', async (name, build) => {
    const checked = await check(build, name.length);
    if (/matmul [NT]|bmm|attention [0-9w]|rmsNorm|layerNorm|matmulQuantised [0-9]|through a reshape|headNorm|dropout|blendRows|dora|rope|activation|swiglu|lora|embed with|gatherRows/.test(name)) expect(checked).toBeGreaterThan(2);
  });
});
