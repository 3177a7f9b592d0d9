import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gptBatch, gptConstants, gptStep, gptTokens, type GptSizes, REFERENCE_GPT } from '../bench/gpt.ts';
import { openDevice, PhiloxStream, ReferenceEngine, WebGpuEngine } from '../src/index.ts';

const mean = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0) / x.length;

describe('the reference GPT', () => {
  let engine: WebGpuEngine;
  beforeAll(async () => {
    engine = new WebGpuEngine(await openDevice());
  });
  afterAll(() => engine.dispose());

  it.each([[2, 60], [4, 110]])('%i layers: a steady step is one submission, a pass, no new buffer or bind group, at most %i dispatches', async (layers, most) => {
    const sizes: GptSizes = { ...REFERENCE_GPT, layers };
    const { graph, store } = gptStep(engine, sizes);
    const plan = await engine.compile(graph);
    const { ids, targets } = gptTokens(sizes, new PhiloxStream(1));
    await plan.run({ ...gptConstants(sizes), ...gptBatch(ids, targets, 1) }, ['logp']);
    const before = { ...engine.counters };
    const { logp } = await plan.run(gptBatch(ids, targets, 2), ['logp']);
    const { submissions, passes, buffers, bindGroups, pipelines, bytes, dispatches } = engine.counters;
    expect(submissions - before.submissions).toBe(1);
    expect(passes - before.passes).toBeLessThanOrEqual(3);
    expect([buffers - before.buffers, bindGroups - before.bindGroups, pipelines - before.pipelines, bytes - before.bytes]).toEqual([0, 0, 0, 0]);
    expect(dispatches - before.dispatches).toBe(plan.dispatches);
    expect(plan.dispatches).toBeLessThanOrEqual(most);
    expect(-mean(logp!)).toBeLessThan(Math.log(sizes.vocabulary) + 0.1);
    plan.dispose();
    store.dispose();
  });

  it('takes the steps that float64 takes', async () => {
    const sizes: GptSizes = { vocabulary: 48, width: 16, layers: 2, heads: 2, hidden: 24, batch: 2, length: 9 };
    const losses = async (on: WebGpuEngine | ReferenceEngine) => {
      const { graph, store } = gptStep(on, sizes, 7);
      const plan = await on.compile(graph);
      const random = new PhiloxStream(3);
      const out: number[] = [];
      for (let step = 1; step <= 12; step++) {
        const { ids, targets } = gptTokens(sizes, random);
        const { logp, norm2 } = await plan.run({ ...gptConstants(sizes), ...gptBatch(ids, targets, step, 0.01) }, ['logp', 'norm2']);
        out.push(-mean(logp!), Math.sqrt(norm2![0]!));
      }
      plan.dispose();
      store.dispose();
      return out;
    };
    const [got, want] = [await losses(engine), await losses(new ReferenceEngine())];
    got.forEach((v, i) => expect(Math.abs(v - want[i]!) / want[i]!, `number ${i}`).toBeLessThan(2e-4));
    expect(want[22]!).toBeLessThan(want[0]!);
  });
});
