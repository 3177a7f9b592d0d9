/** A run on GTAPolicy. */
import type { RunReport } from '@trimpi/eval';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { recipeWords } from '../src/base/recipes.ts';
import { callScores, DEMO_CONFIG, GTA_CONFIG, gtaDataset, gtaShortcuts, memoryStorage, resolveConfig, run, type RunEvent, type RunOverrides, scaleSettings, SMALL_BASE_RECIPE } from '../src/index.ts';
import { randomBase } from './random-base.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
const base = await randomBase(engine, recipeWords(SMALL_BASE_RECIPE));
afterAll(() => device.dispose());

const config = resolveConfig({
  benchmark: 'gta', seed: 4, trainPerPolicy: 8, reasonedPerPolicy: 4, testSize: 6, saveSteps: 1,
  vmCpt: { steps: 2, batchSize: 2 }, sft: { steps: 2, batchSize: 2 }, rl: { steps: 2, promptsPerStep: 2, rollouts: 2, maxNewTokens: 6 }, arms: ['poro-grpo'],
});

describe('settings', () => {
  it('ClevrPolicy has no name in them: runs saved before there was another are gone on with', () => {
    expect(JSON.stringify(resolveConfig({ benchmark: 'clevr', seed: 3 }))).toBe(JSON.stringify(resolveConfig({ seed: 3 })));
    expect(resolveConfig()).toEqual(DEMO_CONFIG);
  });

  it('of GTAPolicy are one policy, with as many questions as the table of the paper has at scale tiny', () => {
    expect(resolveConfig({ benchmark: 'gta' })).toEqual(GTA_CONFIG);
    expect(resolveConfig(resolveConfig({ benchmark: 'gta', seed: 3 }))).toEqual({ ...GTA_CONFIG, seed: 3 });
    const table = scaleSettings('tiny', { benchmark: 'gta', n: 0 });
    const sizes = (c: Pick<typeof GTA_CONFIG, 'policies' | 'trainPerPolicy' | 'reasonedPerPolicy' | 'testSize' | 'rl'>) => [c.policies * c.trainPerPolicy, c.policies * c.reasonedPerPolicy, c.testSize, c.rl];
    expect(sizes(GTA_CONFIG)).toEqual(sizes(table));
  });

  it.each([['benchmark', { benchmark: 'gat' }], ['n', { benchmark: 'gta', n: 3 }], ['variant', { benchmark: 'gta', variant: 'm' }], ['policies', { benchmark: 'gta', policies: 4 }], ['reasonedPerPolicy', { benchmark: 'gta', trainPerPolicy: 20 }]])('refuse a wrong %s: %j', (argument, options) => {
    expect(() => resolveConfig(options as RunOverrides)).toThrow(expect.objectContaining({ code: 'invalid-option', argument }));
  });
});

it('scores of calls are means of tool, arguments and both', () => {
  const dataset = gtaDataset(config);
  const items = Array.from({ length: 6 }, (_, i) => ({ example: dataset.example('test', i) }));
  const right = items.map(({ example }) => example.response);
  expect(callScores(items, right)).toEqual({ tool: 1, arguments: 1, overall: 1 });
  expect(callScores(items, items.map(() => 'no call'))).toEqual({ tool: 0, arguments: 0, overall: 0 });
  // Two say nothing of worth, four are right: arguments count with their tool.
  expect(callScores(items, right.map((text, i) => (i < 2 ? '' : text)))).toEqual({ tool: 4 / 6, arguments: 4 / 6, overall: 4 / 6 });
  // A wrong last argument leaves the tool and what stands before it.
  const last = callScores(items, right.map((text) => text.replace(/\S+ \}$/, 'nothing }')));
  expect(last.tool).toBe(1);
  expect(last.arguments).toBeLessThan(1);
  expect(last.arguments).toBeGreaterThan(0);
  expect(last.overall).toBeCloseTo((1 + last.arguments) / 2, 12);
});

describe('a run', () => {
  const start = (storage: ReturnType<typeof memoryStorage>, more: { signal?: AbortSignal; onEvent?: (e: RunEvent) => void } = {}) => run({ config, engine, adapterName: 'test', base, storage, ...more });
  const text = (storage: ReturnType<typeof memoryStorage>, file: string) => new TextDecoder().decode(storage.files.get(file));

  it('goes through all stages, and reports what was called', async () => {
    const storage = memoryStorage();
    const events: RunEvent[] = [];
    const report = await start(storage, { onEvent: (e) => events.push(e) });
    expect(report.title).toContain('GTAPolicy');
    expect(report.stages.map((s) => s.name)).toEqual(['base', 'vm-cpt', 'cot-sft', 'poro-grpo']);
    for (const measured of [report.inContext, ...report.stages, ...events.filter((e) => e.type === 'evaluated')]) {
      expect(Object.keys(measured.calls!)).toEqual(['tool', 'arguments', 'overall']);
      // A call that is right in all has the right tool.
      expect(measured.calls!.tool).toBeGreaterThanOrEqual(measured.accuracy);
    }
    const dataset = gtaDataset(config);
    const of = (split: 'train' | 'test') => Array.from({ length: dataset.size(split) }, (_, i) => dataset.example(split, i));
    expect(report).toMatchObject(gtaShortcuts(dataset, of('train'), of('test')));
    for (const name of ['n', 'variant', 'policies']) expect(report.settings).not.toHaveProperty(name);
    expect(report.canonical!.withPolicy).toBeGreaterThan(report.canonical!.withoutPolicy);
    for (const file of ['model/model.safetensors', 'adapter/adapter_model.safetensors']) expect(storage.files.has(file), file).toBe(true);
    expect(text(storage, 'report.html')).toMatch(/<th>Tool<\/th><th>Arguments<\/th><th>Overall<\/th>/);
    expect(text(storage, 'report.html')).not.toContain('Branching error');

    const stopped = memoryStorage();
    const stop = new AbortController();
    await expect(start(stopped, { signal: stop.signal, onEvent: (e) => e.type === 'step' && e.stage === 'cot-sft' && e.step === 1 && stop.abort() })).rejects.toMatchObject({ code: 'interrupted' });
    await start(stopped);
    expect((JSON.parse(text(stopped, 'report.json')) as RunReport).stages.map((s) => s.accuracy)).toEqual(report.stages.map((s) => s.accuracy));
    expect(Buffer.from(stopped.files.get('model/model.safetensors')!).equals(storage.files.get('model/model.safetensors')!)).toBe(true);
    // It is another run than one on ClevrPolicy.
    await expect(run({ config: resolveConfig({ ...config, benchmark: 'clevr', policies: 1 }), engine, adapterName: 'test', base, storage })).rejects.toMatchObject({ code: 'invalid-option' });
  });

  it('on a base that lacks its words is refused', async () => {
    const tiny = await randomBase(engine);
    await expect(run({ config, engine, adapterName: 'test', base: tiny, storage: memoryStorage() })).rejects.toMatchObject({ code: 'invalid-option', argument: 'base', message: expect.stringContaining('GTAPolicy') });
  });
});
