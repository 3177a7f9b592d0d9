import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { gptBatch, gptConstants, gptStep, gptTokens, type GptSizes, REFERENCE_GPT } from '../bench/gpt.ts';
import { Graph, matmul, openDevice, ParameterStore, PhiloxStream, WebGpuEngine } from '../src/index.ts';

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
  }, 300_000);

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

  it('what is declared with `using` is given back at the end of its block, and the report names what is not', async () => {
    using device = await openDevice();
    using engine = new WebGpuEngine(device);
    {
      using store = new ParameterStore(engine, 'p', [{ name: 'w', shape: [4, 64] }]);
      store.setTrainable(true, 'adamw8bit');
      using kept = engine.createStorage('cache', 64);
      const g = new Graph();
      g.output('y', matmul(g.input('x', [2, 64]), store.tensor(g, 'w'), { transposeB: true }));
      using plan = await engine.compile(g);
      await plan.run({ x: new Float32Array(128) }, ['y']);
      const live = engine.liveBuffers();
      expect(live.find((b) => b.label === 'p.values')).toEqual({ label: 'p.values', count: 1, bytes: 1024 });
      expect(live.map((b) => b.label).sort()).toEqual(['cache', 'intermediate 0', 'p.values', 'p.values.absmax', 'p.values.gradients', 'p.values.qmap', 'p.values.state1', 'p.values.state2', 'staging', 'uniforms', 'x']);
      expect(live.reduce((s, b) => s + b.bytes, 0)).toBe(engine.counters.bytes);
      expect(kept.length).toBe(64);
    }
    expect(engine.liveBuffers()).toEqual([]);
    expect(engine.counters.bytes).toBe(0);
    expect(engine.counters.peakBytes).toBeGreaterThan(4096);
    const forgotten = engine.createStorage('forgotten', 8);
    expect(engine.liveBuffers()).toEqual([{ label: 'forgotten', count: 1, bytes: 32 }]);
    forgotten.dispose();
  });
});
