import { afterAll, expect, it } from 'vitest';
import { gptBatch, gptConstants, gptStep, gptTokens, type GptSizes } from '../bench/gpt.ts';
import { chromeTrace, openDevice, PhiloxStream, WebGpuEngine } from '../src/index.ts';

const SIZES: GptSizes = { vocabulary: 64, width: 32, layers: 1, heads: 2, hidden: 64, batch: 2, length: 16 };
const engine = new WebGpuEngine(await openDevice());
afterAll(() => engine.dispose());

it('a profile has one event for each dispatch, inside the run, and is a trace that Chrome reads', async () => {
  const plan = await engine.compile(gptStep(engine, SIZES).graph);
  const { ids, targets } = gptTokens(SIZES, new PhiloxStream(1));
  const inputs = { ...gptConstants(SIZES), ...gptBatch(ids, targets, 1) };
  await plan.run(inputs, ['logp']);
  const begin = performance.now();
  const before = { ...engine.counters };
  const report = await plan.profile(inputs);
  const wall = (performance.now() - begin) * 1000;

  expect(report.events.length).toBe(plan.dispatches);
  expect(report.counters.dispatches - before.dispatches).toBe(plan.dispatches);
  let last = 0;
  for (const e of report.events) {
    expect(e.startMicroseconds).toBeGreaterThanOrEqual(last);
    expect(e.microseconds).toBeGreaterThanOrEqual(0);
    last = e.startMicroseconds;
  }
  expect(report.spanMicroseconds).toBeLessThanOrEqual(wall);
  expect(report.microseconds).toBeLessThanOrEqual(report.spanMicroseconds + 1);
  expect(report.microseconds).toBeGreaterThan(0);
  expect(report.kernels.reduce((s, k) => s + k.share, 0)).toBeCloseTo(1, 9);
  expect(report.kernels.reduce((s, k) => s + k.count, 0)).toBe(plan.dispatches);
  const optimizer = report.events.find((e) => e.ops[0] === 'adamw')!;
  expect(optimizer).toMatchObject({ kernel: 'adamw', shapes: expect.stringMatching(/^hyper f32\[9\], sumSquares f32\[1\] -> gpt\.values f32/) });

  // The Trace Event Format: complete events (`X`) with ts and dur in microseconds, metadata (`M`).
  const trace = JSON.parse(chromeTrace(report)) as { traceEvents: { ph: string; ts: number; dur: number; name: string; pid: number; tid: number }[] };
  const complete = trace.traceEvents.filter((e) => e.ph === 'X');
  expect(complete.length).toBe(plan.dispatches);
  expect(trace.traceEvents.every((e) => (e.ph === 'X' || e.ph === 'M') && Number.isInteger(e.pid) && Number.isInteger(e.tid) && e.name !== '')).toBe(true);
  for (const e of complete) expect(e.ts >= 0 && e.dur >= 0 && e.ts + e.dur <= wall).toBe(true);
  plan.dispose();
});

it('says so on a device without timestamps', async () => {
  const { gpu, adapter, ...device } = engine.device;
  const without = new WebGpuEngine({ ...device, gpu, adapter: { ...adapter, features: [] } });
  const plan = await without.compile(gptStep(without, SIZES).graph);
  await expect(plan.profile({})).rejects.toMatchObject({ code: 'limit', argument: 'profile' });
});
