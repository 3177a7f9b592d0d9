import { afterAll, describe, expect, it } from 'vitest';
import { openDevice, ReferenceEngine } from '../src/index.ts';
import { CASES, COOPERATIVE_CASES } from './cases.ts';
import { PoisonedEngine, runCase, worst } from './harness.ts';

/** f32 against f64: relative to 1 + |value|. Sums here have at most 300 terms of order one. */
const TOLERANCE = 3e-5;

const device = await openDevice();
/**
 * A CPU that plays a GPU takes up to a minute to compile a shader of large tiles. There, products are left to `blocks.test.ts`, and
 * attention has the smallest and the largest head; a GPU runs them all.
 */
const asOnGpu = [...CASES, ...COOPERATIVE_CASES].filter(([name]) => !device.adapter.software || !/^(matmul|bmm) |heads of (40|64|80)/.test(name));
const engines = [
  ['the adapter as it is', new PoisonedEngine(device), CASES],
  ['no optional feature', new PoisonedEngine(device, { portable: true }), CASES],
  ['as on a GPU', new PoisonedEngine(device, { portable: true, cooperative: true }), asOnGpu],
] as const;
const reference = new ReferenceEngine();

describe.each(engines)('every kernel against the float64 reference, %s', (_name, engine, cases) => {
  it.each(cases)('%s', async (name, build) => {
    const want = await runCase(reference, build, name.length);
    const got = await runCase(engine, build, name.length);
    const { error, where } = worst(got, want);
    expect(error, where).toBeLessThan(TOLERANCE);
  });
});

afterAll(() => device.dispose());
