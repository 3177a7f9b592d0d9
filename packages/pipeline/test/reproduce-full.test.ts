/** Scale `full` with the paper's settings cut down, on a checkpoint of Qwen2.5-VL's form with random weights. */
import { clevrPolicy, gtaPolicy } from '@trimpi/datasets';
import { memoryFiles, type ModelFiles, Processor } from '@trimpi/model';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FORMAT_INSTRUCTION, memoryStorage, type ReproduceEvent, type ReproduceOptions, type ReproduceResults, reproduceRows, type RowName, type RowResult, scaleSettings } from '../src/index.ts';
import { reproduce } from '../src/node.ts';

const read = (file: string) => readFileSync(fileURLToPath(new URL(`../../model/test/fixtures/qwen25vl/model/${file}`, import.meta.url)));
const config = JSON.parse(read('config.json').toString());
const files = Object.fromEntries(['chat_template.json', 'generation_config.json', 'model.safetensors', 'preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json'].map((f) => [f, read(f)]));
/** The fixture with room for GTAPolicy's document. */
const base: ModelFiles = memoryFiles({ ...files, 'config.json': Buffer.from(JSON.stringify({ ...config, max_position_embeddings: 16_384 })) }, 'fixture');
const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const CHECKPOINT = { bits: 32, maxTokens: 16_384, width: 112, height: 84, lora: { r: 4, loraAlpha: 8, targetModules: '' } } as const;
const settings = {
  policies: 2, trainPerPolicy: 4, reasonedPerPolicy: 2, testSize: 3, suiteSize: 2, saveSteps: 1,
  vmCpt: { steps: 1, batchSize: 2, learningRate: 1e-3 },
  sft: { steps: 2, batchSize: 2, learningRate: 3e-3, r: 4, loraAlpha: 8 },
  directSft: { steps: 2, batchSize: 2, learningRate: 3e-3, r: 4, loraAlpha: 8 },
  rl: { steps: 2, learningRate: 1e-3, promptsPerStep: 1, rollouts: 4, temperature: 1, maxNewTokens: 6 },
};
const rows: RowName[] = ['in-context', 'direct-sft', 'vm-cpt+cot-sft', 'vm-cpt+cot-sft+poro-grpo'];
const GTA_ROWS: RowName[] = ['in-context', 'cot-sft+poro-grpo'];
type Storage = ReturnType<typeof memoryStorage>;
const go = (storage: Storage, more: Partial<ReproduceOptions> = {}) => reproduceRows({ scale: 'full', benchmarks: ['clevr-t'], n: 2, seeds: [1], rows, engine, adapterName: 'test', base, storage, settings, checkpoint: CHECKPOINT, ...more });
const rowOf = (storage: Storage, folder: string, row: RowName) => JSON.parse(new TextDecoder().decode(storage.files.get(`${folder}/seed-1/${row}.json`))) as RowResult;
/** What of a row does not depend on the clock. */
const timeless = ({ suite, rl, ...row }: RowResult) => ({ ...row, trainSeconds: 0, evaluationSeconds: 0, suite: { ...suite, prefillMs: 0, prefillMsWithPolicy: 0 }, rl: rl === undefined ? undefined : { ...rl, time: {} } });

describe('scale full', () => {
  const [storage, gta] = [memoryStorage(), memoryStorage()];
  let results: ReproduceResults;
  let tools: ReproduceResults;
  beforeAll(async () => {
    results = await go(storage);
    tools = await go(gta, { benchmarks: ['gta'], rows: GTA_ROWS });
  }, 600_000);

  it('makes the rows of ClevrPolicy on a checkpoint, with everything that is measured', () => {
    expect(results.missing).toEqual([]);
    expect(results.rows.map((r) => r.row)).toEqual(rows);
    const { suite, rl } = rowOf(storage, 'n2', 'vm-cpt+cot-sft+poro-grpo');
    expect(rl!.rollouts).toBe(8);
    expect([suite.accuracy.n, suite.override.all.n, suite.override.part!.n, suite.forgetting.otherPolicies.n, suite.forgetting.existence.n]).toEqual([3, 2, 2, 2, 4]);
    expect(suite).toMatchObject({ branchingError: expect.any(Number), branchingErrorRate: expect.any(Number), referral: expect.any(Number) });
    expect(results.baselines).toMatchObject([{ chance: 0.25 }]);
    const inContext = rowOf(storage, 'n2', 'in-context').suite;
    expect(new TextDecoder().decode(storage.files.get('results.md'))).toContain(`| N=2 | ${inContext.promptTokensWithPolicy.toFixed(0)} | ${inContext.promptTokens.toFixed(0)} |`);
  });

  it('and those of GTAPolicy, with the scores of its calls', () => {
    expect(tools.missing).toEqual([]);
    expect(tools.rows.map((r) => `${r.benchmark} ${r.row}`)).toEqual(GTA_ROWS.map((r) => `gta ${r}`));
    const { suite } = rowOf(gta, 'gta', 'in-context');
    expect(suite.calls!.deployed.overall).toBeCloseTo((suite.calls!.deployed.tool + suite.calls!.deployed.arguments) / 2, 12);
    expect([suite.override.part, suite.branchingError]).toEqual([undefined, undefined]);
    // Test questions take turns through the slices; the third is a case that training does not show.
    expect(suite.unseenCells!.n).toBe(1);
    // A version of a tool that has two to five.
    expect(tools.baselines[0]!.chance).toBeGreaterThan(0.15);
    expect(tools.baselines[0]!.chance).toBeLessThan(1);
  });

  it('asks in the form of the checkpoint, with the policy of the paper and without', async () => {
    const processor = await Processor.load(base);
    const clevr = clevrPolicy({ seed: 'run 1', n: 2, policies: 2, variant: 't', width: 112, height: 84, train: 8, test: 3, reasoned: 4 });
    for (const [folder, dataset, from] of [['n2', clevr, storage], ['gta', gtaPolicy({ seed: 'run 1', train: 8, test: 3 }), gta]] as const) {
      const tokens = (withPolicy: boolean) => [0, 1, 2].map((i) => dataset.example('test', i)).map((example) => processor.process({
        messages: [
          { role: 'system', content: FORMAT_INSTRUCTION },
          { role: 'user', content: [...(withPolicy ? [{ type: 'text' as const, text: example.policyText }, { type: 'text' as const, text: '\n\n' }] : []), ...example.images.map((image) => ({ type: 'image' as const, image: { ...image, data: image.rgb } })), { type: 'text', text: example.query }] },
        ],
        addGenerationPrompt: true,
      }).inputIds.length).reduce((a, b) => a + b, 0) / 3;
      const { suite } = rowOf(from, folder, 'in-context');
      expect([suite.promptTokens, suite.promptTokensWithPolicy]).toEqual([tokens(false), tokens(true)]);
    }
  });

  it('every row begins with a fresh adapter: alone it comes out as among the others', async () => {
    const alone = memoryStorage();
    await go(alone, { benchmarks: ['clevr-t'], rows: ['direct-sft'] });
    expect(timeless(rowOf(alone, 'n2', 'direct-sft'))).toEqual(timeless(rowOf(storage, 'n2', 'direct-sft')));
    expect([...alone.files.get('n2/seed-1/direct-sft.safetensors')!]).toEqual([...storage.files.get('n2/seed-1/direct-sft.safetensors')!]);
    expect([...storage.files.get('n2/seed-1/direct-sft.safetensors')!]).not.toEqual([...storage.files.get('n2/seed-1/vm-cpt+cot-sft.safetensors')!]);
  });

  it('stopped in RL, it goes on and ends the same', async () => {
    const stopped = memoryStorage();
    const stop = new AbortController();
    const some = { benchmarks: ['clevr-t'], rows: ['vm-cpt+cot-sft+poro-grpo'] } as const;
    await expect(go(stopped, { ...some, signal: stop.signal, onEvent: (e) => e.type === 'step' && e.stage.endsWith('poro-grpo') && e.step === 1 && stop.abort() })).rejects.toMatchObject({ code: 'interrupted' });
    const again: ReproduceEvent[] = [];
    await go(stopped, { ...some, onEvent: (e) => again.push(e) });
    expect(again.filter((e) => e.type === 'step').map((e) => `${e.stage} ${e.step}`)).toEqual(['vm-cpt+cot-sft+poro-grpo 2']);
    expect(timeless(rowOf(stopped, 'n2', 'vm-cpt+cot-sft+poro-grpo'))).toEqual(timeless(rowOf(storage, 'n2', 'vm-cpt+cot-sft+poro-grpo')));
  });

  it('trains all parameters where that is asked for, and policies with pictures', async () => {
    const full = memoryStorage();
    await go(full, { benchmarks: ['clevr-m'], rows: ['in-context', 'cot-sft', 'cot-sft+grpo'], checkpoint: { ...CHECKPOINT, tune: 'full' } });
    // Stages keep the whole text tower, not an adapter.
    expect(full.files.get('n2m/seed-1/cot-sft.safetensors')!.byteLength).toBeGreaterThan(300_000);
    const { suite } = rowOf(full, 'n2m', 'in-context');
    const { policies } = clevrPolicy({ seed: 'run 1', n: 2, policies: 2, variant: 'm', width: 112, height: 84, train: 8, test: 3, reasoned: 4 });
    expect(policies.every((p) => p.images.length > 0)).toBe(true);
    expect(suite.promptTokensWithPolicy).toBeGreaterThan(suite.promptTokens + 100);
  });

  it('its settings are the paper\'s: table 5', () => {
    const clevr = scaleSettings('full', { benchmark: 'clevr-t', n: 6 }, { tune: 'full' });
    expect(clevr.policies * clevr.trainPerPolicy).toBe(20_000);
    expect(clevr.testSize).toBe(2_000);
    // Epochs of 2,500 rows with reasoning, 20,000 without, in batches of 128 and 64; RL in 104 steps of 384 prompts.
    const epochs = ({ steps, batchSize }: { steps: number; batchSize: number }, of: number) => Math.round((steps * batchSize) / of);
    expect([epochs(clevr.vmCpt, 2_500), epochs(clevr.sft, 2_500), epochs(clevr.directSft, 20_000), epochs({ steps: clevr.rl.steps, batchSize: clevr.rl.promptsPerStep }, 20_000)]).toEqual([5, 5, 2, 2]);
    expect([clevr.vmCpt.learningRate, clevr.sft.learningRate, clevr.rl.learningRate, clevr.sft.r, clevr.checkpoint!.bits]).toEqual([1e-5, 1e-4, 1e-6, 8, 32]);
    const gta = scaleSettings('full', { benchmark: 'gta', n: 0 });
    expect([gta.trainPerPolicy, gta.testSize, epochs(gta.vmCpt, 451), epochs(gta.sft, 451), gta.rl.steps, gta.rl.promptsPerStep]).toEqual([451, 106, 5, 10, 50, 256]);
    expect(gta.checkpoint).toMatchObject({ tune: 'lora', bits: 16 });
  });

  it('refuses what cannot be, before anything is loaded', async () => {
    await expect(reproduce({ scale: 'full', n: 2, seeds: [1], dir: '/nonexistent' })).rejects.toThrow(/base: is missing\. Scale full needs/);
    expect(() => scaleSettings('tiny', { benchmark: 'clevr-t', n: 2 }, { bits: 4 })).toThrow(/checkpoint: is of scale full/);
    expect(() => scaleSettings('full', { benchmark: 'clevr-t', n: 2 }, { bits: 5 })).toThrow(/bits: is 5/);
    expect(() => scaleSettings('full', { benchmark: 'clevr-t', n: 2 }, { bits: 4, tune: 'full' })).toThrow(/bits: is 4, and full training/);
    expect(() => scaleSettings('full', { benchmark: 'clevr-t', n: 2 }, { width: 10 })).toThrow(/checkpoint\.width: is 10/);
    await expect(go(memoryStorage(), { checkpoint: { ...CHECKPOINT, maxTokens: 200 } })).rejects.toThrow(/maxTokens: is 200, and the longest row has \d+ tokens/);
    await expect(go(memoryStorage(), { limits: { memory: 1e6 } })).rejects.toMatchObject({ code: 'does-not-fit' });
  });
});
