import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { gptBatch, gptConstants, gptStep, gptTokens, type GptSizes, REFERENCE_GPT } from '../bench/gpt.ts';
import { openDevice, PhiloxStream, WebGpuEngine } from '../src/index.ts';

const SMALL: GptSizes = { vocabulary: 32, width: 16, layers: 1, heads: 2, hidden: 16, batch: 1, length: 8 };

/** Collects what can be collected. */
function collect(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

describe('memory', () => {
  it('1,000 steps make no buffer, no byte of GPU memory and no JavaScript heap', async () => {
    const engine = new WebGpuEngine(await openDevice());
    const { graph } = gptStep(engine, SMALL);
    const plan = await engine.compile(graph);
    const random = new PhiloxStream(1);
    const steps = async (from: number, count: number) => {
      for (let step = from; step < from + count; step++) {
        const { ids, targets } = gptTokens(SMALL, random);
        await plan.run({ ...gptConstants(SMALL), ...gptBatch(ids, targets, step) }, ['logp']);
      }
      collect();
      return { bytes: engine.counters.bytes, buffers: engine.counters.buffers, heap: process.memoryUsage().heapUsed };
    };
    const before = await steps(1, 200);
    const after = await steps(201, 1000);
    expect([after.bytes, after.buffers]).toEqual([before.bytes, before.buffers]);
    // 1 KiB a step that stays would be 1 MB.
    expect(after.heap - before.heap).toBeLessThan(1_000_000);
    engine.dispose();
  }, 60_000);

  it.each([['a small one', SMALL], ['the reference GPT', { ...REFERENCE_GPT, layers: 2 }]] as const)('plan.memory() says before it runs what a step takes: %s', async (_, sizes) => {
    const engine = new WebGpuEngine(await openDevice());
    const { graph } = gptStep(engine, sizes);
    const before = engine.counters.bytes;
    const plan = await engine.compile(graph);
    const predicted = plan.memory().total;
    const { ids, targets } = gptTokens(sizes, new PhiloxStream(1));
    await plan.run({ ...gptConstants(sizes), ...gptBatch(ids, targets, 1) }, ['logp', 'norm2']);
    expect(Math.abs(engine.counters.bytes - before - predicted) / predicted).toBeLessThan(0.05);
    plan.dispose();
    expect(engine.counters.bytes).toBe(before);
    engine.dispose();
  });
});
