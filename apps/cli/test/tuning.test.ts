import { readFileSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { Graph, KernelTuner, matmul, openDevice, WebGpuEngine } from '@trimpi/runtime';
import { fileTuningStore } from '../src/tuning.ts';
import { scratch } from './helpers.ts';

const dir = scratch();
const device = await openDevice();
afterAll(() => {
  device.dispose();
  dir.remove();
});

it('choices of kernel variants are kept in a file, and taken from there by the next process', async () => {
  const file = dir.path('tuning.json');
  const measured = async () => {
    const tuner = new KernelTuner(fileTuningStore(file));
    const g = new Graph();
    g.output('y', matmul(g.input('a', [3, 5]), g.input('b', [5, 7])));
    (await new WebGpuEngine(device, { tuner }).compile(g)).dispose();
    return tuner.measured;
  };
  expect(await measured()).toBe(1);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ format: 1 });
  expect(await measured()).toBe(0);
});
