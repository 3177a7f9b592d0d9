import { type Example, makeScorer, ownExamples, decodePng, type RgbImage } from '@trimpi/datasets';
import { readPolicyFolder } from '@trimpi/datasets/node';
import { bytesSource, memoryFiles, type ModelFiles, openCheckpoint, packBatch, Processor, readAdapter, requireText, SafetensorsFile, stopTokenIds, VisionLanguageModel } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { type ChatExample, internalise, type InternaliseOptions, memoryStorage, resolveInternaliseConfig, type RunEvent } from '../src/index.ts';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const folder = path('../../../docs/examples/sorting');
const base: ModelFiles = folderFiles(path('../../model/test/fixtures/qwen25vl/model'));
const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const policy = readPolicyFolder(folder);
const pictures = new Map<string, RgbImage>();
const score = makeScorer(policy.scorer);
const examples: ChatExample[] = ownExamples(policy, (name) => {
  const picture = pictures.get(name) ?? decodePng(readFileSync(`${folder}/${name}`));
  pictures.set(name, picture);
  return picture;
}).map((example, i) => ({ example, score: (completion) => score(completion, policy.rows[i]!.answer) }));

const config = resolveInternaliseConfig({
  seed: 3, testSize: 2, saveSteps: 1, maxTokens: 2048, lora: { r: 4, loraAlpha: 8, targetModules: '' },
  vmCpt: { steps: 2, batchSize: 2, learningRate: 1e-3 },
  sft: { steps: 2, batchSize: 2, learningRate: 1e-3 },
  rl: { steps: 2, learningRate: 1e-3, promptsPerStep: 1, rollouts: 4, temperature: 1, maxNewTokens: 4 },
});
const start = (storage: ReturnType<typeof memoryStorage>, more: Partial<InternaliseOptions> = {}) => internalise({ config, title: policy.name, examples, engine, adapterName: 'test', base, storage, ...more });
const bytes = (storage: ReturnType<typeof memoryStorage>, file: string) => Buffer.from(storage.files.get(file)!).toString('base64');

const straight = memoryStorage();
const events: RunEvent[] = [];
const report = await start(straight, { onEvent: (e) => events.push(e) });

describe('a policy of one\'s own into a checkpoint', () => {
  it('goes through all stages on one adapter, and says what they did', () => {
    expect(report.stages.map((s) => s.name)).toEqual(['base', 'vm-cpt', 'cot-sft', 'poro-grpo']);
    expect(report).not.toHaveProperty('chance');
    expect(report.title).toContain('Sorting rules');
    for (const stage of report.stages) {
      expect(stage.n).toBe(2);
      expect(stage.promptTokens).toBeLessThan(report.inContext.promptTokens);
    }
    expect(report.stages[3]!.rl).toMatchObject({ rollouts: 8 });
    expect(events.filter((e) => e.type === 'step')).toHaveLength(6);
    const html = new TextDecoder().decode(straight.files.get('report.html'));
    expect(html).toContain('Where does this tray go');
    expect(html.match(/<img alt="Picture of the question/g)).toHaveLength(2);
  });

  it.each([
    ['an answer', (example: Example) => ({ answer: `${example.answer}!` })],
    ['a policy', (example: Example) => ({ policyParts: [...example.policyParts, { type: 'text' as const, text: ' Be kind.' }] })],
    ['an id', (example: Example) => ({ id: `${example.id}-2` })],
  ] as const)('%s that has changed is another run, and is refused', async (_, change) => {
    const said: RunEvent[] = [];
    const other = examples.map((e, i) => (i === 0 ? { ...e, example: Object.defineProperties({ ...e.example }, Object.getOwnPropertyDescriptors(change(e.example))) } : e));
    await expect(start(straight, { examples: other, onEvent: (e) => said.push(e) })).rejects.toMatchObject({ code: 'invalid-option', argument: 'memory', message: expect.stringMatching(/other data/) });
    // Before the checkpoint is loaded.
    expect(said).toEqual([]);
  });

  it('prompts are those of the checkpoint\'s processor, with the policy and without', async () => {
    const processor = await Processor.load(base);
    const test = examples.filter(({ example }) => example.split === 'test').slice(0, 2);
    const tokens = (withPolicy: boolean) => test.map(({ example }) => processor.process({
      messages: [
        { role: 'system', content: config.system },
        { role: 'user', content: [...(withPolicy ? [{ type: 'text' as const, text: example.policyText }, { type: 'text' as const, text: '\n\n' }] : []), { type: 'image', image: { ...example.images[0]!, data: example.images[0]!.rgb } }, { type: 'text', text: example.query }] },
      ],
      addGenerationPrompt: true,
    }).inputIds.length).reduce((a, b) => a + b, 0) / 2;
    expect(report.stages[0]!.promptTokens).toBe(tokens(false));
    expect(report.inContext.promptTokens).toBe(tokens(true));
  });

  it('the adapter it leaves is PEFT\'s, and the checkpoint with it is the model that was measured', async () => {
    const model = new VisionLanguageModel(engine, (await Processor.load(base)).config);
    await model.load(await openCheckpoint(base));
    const files = Object.fromEntries(['adapter_config.json', 'adapter_model.safetensors'].map((name) => [name, straight.files.get(`adapter/${name}`)!]));
    const adapter = await readAdapter(memoryFiles(files), model.config);
    expect([adapter.config.r, adapter.config.loraAlpha]).toEqual([4, 8]);
    model.loadAdapter('mine', adapter);
    const kept = await SafetensorsFile.open(bytesSource(straight.files.get('poro-grpo.safetensors')!, 'poro-grpo.safetensors'));
    expect([...(await model.adapter('mine').store.values.read())]).toEqual([...(await kept.readFloat32('adapter'))]);
    const sequence = { inputIds: Int32Array.from([1, 2, 3, 4]), positionIds: Int32Array.from([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]), images: [] };
    const [plain, worn] = [await model.score(packBatch(model.config, [{ sequence }])), await model.score(packBatch(model.config, [{ sequence }]), { adapter: 'mine' })];
    expect(Math.max(...plain.logp.map((x, i) => Math.abs(x - worn.logp[i]!)))).toBeGreaterThan(1e-5);
    model.dispose();
  });

  it.each(['vm-cpt', 'cot-sft', 'poro-grpo'] as const)('stopped in %s and resumed, it leaves the same adapter', async (stage) => {
    const storage = memoryStorage();
    const stop = new AbortController();
    await expect(start(storage, { signal: stop.signal, onEvent: (e) => e.type === 'step' && e.stage === stage && e.step === 1 && stop.abort() })).rejects.toMatchObject({ code: 'interrupted' });
    const again: RunEvent[] = [];
    await start(storage, { onEvent: (e) => again.push(e) });
    expect(again.find((e) => e.type === 'stage' && e.stage === stage)).toMatchObject({ firstStep: 1 });
    expect(bytes(storage, 'adapter/adapter_model.safetensors')).toBe(bytes(straight, 'adapter/adapter_model.safetensors'));
  });

  it('several arms leave an adapter each', async () => {
    const arms = memoryStorage();
    await start(arms, { config: { ...config, rl: { ...config.rl, steps: 1 }, arms: ['grpo', 'poro-grpo'] } });
    expect(bytes(arms, 'adapters/poro-grpo/adapter_model.safetensors')).toBe(bytes(arms, 'adapter/adapter_model.safetensors'));
    expect(arms.files.has('adapters/grpo/adapter_config.json')).toBe(true);
  });

  it('tune: full leaves the report, then a checkpoint with what the base has beside its weights', async () => {
    // As newer checkpoints: the template in a file of its own; and one without the tokenizer's settings.
    const { chat_template: template } = JSON.parse(await requireText(base, 'chat_template.json')) as { chat_template: string };
    const jinja: ModelFiles = { name: 'jinja', open: async (file) => (/^(chat_template|tokenizer_config)\.json$/.test(file) ? null : file === 'chat_template.jinja' ? bytesSource(new TextEncoder().encode(template), file) : base.open(file)) };
    const full = memoryStorage();
    await start(full, { base: jinja, config: resolveInternaliseConfig({ ...config, tune: 'full', vmCpt: { ...config.vmCpt, steps: 1 }, sft: { ...config.sft, steps: 1 }, rl: { ...config.rl, steps: 1 } }) });
    const written = [...full.files.keys()];
    expect(written.indexOf('report.html')).toBeLessThan(written.indexOf('model/model.safetensors'));
    expect(full.files.has('adapter/adapter_config.json')).toBe(false);
    const model = memoryFiles(Object.fromEntries([...full.files].flatMap(([name, content]) => (name.startsWith('model/') ? [[name.slice('model/'.length), content]] : []))), 'model');
    for (const file of ['config.json', 'tokenizer.json', 'preprocessor_config.json', 'generation_config.json', 'chat_template.jinja']) expect(await requireText(model, file), file).toBe(await requireText(jinja, file));
    expect(written).not.toContain('model/tokenizer_config.json');
    const messages = [{ role: 'user', content: 'Where does this tray go?' }];
    const [before, after] = [await Processor.load(jinja), await Processor.load(model)];
    expect(after.render(messages)).toBe(before.render(messages));
    expect(after.preprocessor).toEqual(before.preprocessor);
    expect(await stopTokenIds(model, after)).toEqual(await stopTokenIds(jinja, before));
  });

  it('trains an adapter on weights in 4 bits, and one that changes the vision tower', async () => {
    const once = { ...config, vmCpt: { ...config.vmCpt, steps: 1 }, sft: { ...config.sft, steps: 1 }, rl: { ...config.rl, steps: 1 } };
    const four = memoryStorage();
    await start(four, { config: { ...once, bits: 4 } });
    const all = memoryStorage();
    await start(all, { config: { ...once, lora: { ...config.lora, targetModules: 'all-linear' } } });
    const { tensors } = await SafetensorsFile.open(bytesSource(all.files.get('adapter/adapter_model.safetensors')!, 'adapter'));
    expect([...tensors.keys()].some((name) => name.includes('visual'))).toBe(true);
    expect(four.files.has('adapter/adapter_model.safetensors')).toBe(true);
  });
});

it('optional settings of the stages reach its trainers', async () => {
  const storage = memoryStorage();
  const notes: string[] = [];
  await start(storage, {
    config: resolveInternaliseConfig({
      ...config,
      vmCpt: { ...config.vmCpt, steps: 4, earlyStoppingPatience: 1, earlyStoppingThreshold: 1e6 },
      sft: { ...config.sft, warmupSteps: 0, lrSchedulerType: 'cosine' },
      rl: { ...config.rl, steps: 1, beta: 0.1, softPunishCache: 2 },
    }),
    onEvent: (e) => e.type === 'note' && notes.push(e.text),
  });
  const metrics = (stage: string) => new TextDecoder().decode(storage.files.get(`metrics-${stage}.jsonl`)).trim().split('\n').map((line) => JSON.parse(line) as Record<string, number>);
  expect(notes).toContain('VM-CPT ends after 2 of 4 steps: 1 without a better loss.');
  expect(metrics('cot-sft').map((m) => m['learning_rate']! / 1e-3)).toEqual([1, expect.closeTo(0.5, 6)]);
  // The adapter has learnt by now: the checkpoint without it is another model. Steps without an advantage have a penalty all the same.
  expect(metrics('poro-grpo')[0]!['kl']).toBeGreaterThan(0);
  expect(metrics('poro-grpo')[0]).toHaveProperty(['rewards/overlong/free']);
});

describe('what cannot be trained is refused before anything is loaded', () => {
  const refused = (more: Partial<InternaliseOptions>) => start(memoryStorage(), { base: { name: 'no weights', open: (file) => (file.endsWith('.safetensors') ? Promise.reject(new Error('loaded')) : base.open(file)) }, ...more });

  it.each([
    ['no test example', { examples: examples.filter(({ example }) => example.split === 'train') }, /no test example/],
    ['no training example', { examples: examples.filter(({ example }) => example.split === 'test') }, /no training example/],
    ['no reasoning', { examples: examples.map((e) => ({ ...e, example: Object.defineProperties({ ...e.example }, { reasoning: { value: '' } }) })) }, /reasoning/],
    ['a row that does not fit', { config: { ...config, maxTokens: 32 } }, /longest row has \d+ tokens/],
    ['an answer behind the last position', { config: { ...config, rl: { ...config.rl, maxNewTokens: 1_000_000 } } }, /positions/],
    ['too little memory', { limits: { memory: 1000 } }, /memory/],
  ] as const)('%s', async (_, more, message) => {
    await expect(refused(more)).rejects.toThrow(message);
  });

  it.each([[{ bits: 5 }, 'bits'], [{ tune: 'full', bits: 4 }, 'bits'], [{ tune: 'both' as 'full' }, 'tune'], [{ maxTokens: 1 }, 'maxTokens'], [{ lora: { r: 0, loraAlpha: 1, targetModules: '' } }, 'lora.r'], [{ step: 1 } as object, 'step']] as const)('settings %j', (options, argument) => {
    expect(() => resolveInternaliseConfig(options)).toThrow(expect.objectContaining({ code: 'invalid-option', argument }));
  });
});
