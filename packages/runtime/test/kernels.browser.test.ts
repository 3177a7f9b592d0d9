import { afterAll, describe, expect, it } from 'vitest';
import { openDevice, ReferenceEngine } from '../src/index.ts';
import { CASES } from './cases.ts';
import { PoisonedEngine, runCase, worst } from './harness.ts';

/** As in Node: f32 against f64, relative to 1 + |value|. */
const TOLERANCE = 3e-5;

const device = await openDevice();
const engine = new PoisonedEngine(device);
const reference = new ReferenceEngine();

describe('every kernel against the float64 reference, in this browser', () => {
  it.each(CASES)('%s', async (name, build) => {
    const { error, where } = worst(await runCase(engine, build, name.length), await runCase(reference, build, name.length));
    expect(error, where).toBeLessThan(TOLERANCE);
  });
});

afterAll(() => device.dispose());
