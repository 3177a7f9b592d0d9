/** @file What is measured beside accuracy, on the base that is shipped: prompts must be laid out as it learnt them. */
import { openCheckpoint, parseConfig, requireText, Tokenizer, VisionLanguageModel } from '@trimpi/model';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clevrPolicy, existenceQuestions } from '@trimpi/datasets';
import { makeSuiteData, measureSuite, type SuiteReport } from '../src/evaluation/suite.ts';
import { measureAccuracy } from '../src/evaluation/accuracy.ts';
import { makeGtaRunData, makeRunData, measureCanonical, PromptWriter, type RunData, type Task, WordCodec } from '../src/index.ts';
import { smallBase, tinyBase } from '../src/node.ts';

const device = await openDevice();
const base = tinyBase();
const tokenizer = await Tokenizer.load(base);
const model = new VisionLanguageModel(new WebGpuEngine(device), parseConfig(JSON.parse(await requireText(base, 'config.json'))));
afterAll(() => {
  model.dispose();
  device.dispose();
});

describe('the shipped base', () => {
  let data: RunData;
  let report: SuiteReport;
  const writer = new PromptWriter(model, new WordCodec(tokenizer));
  beforeAll(async () => {
    await model.load(await openCheckpoint(base));
    data = await makeRunData(model, { seed: 77, n: 2, policies: 4, trainPerPolicy: 2, reasonedPerPolicy: 2, testSize: 24 });
    const suite = await makeSuiteData(model, data, 24);
    report = await measureSuite({ model, writer, task: writer.task(data), maxNewTokens: 26, check: async () => undefined }, data, suite, true);
  });

  it('follows policies in context, new ones and changed ones too, and knows none by heart', () => {
    expect(report.policyInContext.accuracy).toBeGreaterThan(0.65);
    expect(report.forgetting.otherPolicies.accuracy).toBeGreaterThan(0.6);
    expect(report.override.all.accuracy).toBeGreaterThan(0.5);
    expect(report.override.part!.accuracy).toBeGreaterThan(0.5);
    expect(report.accuracy.accuracy).toBeLessThan(0.45);
    for (const m of [report.policyInContext, report.accuracy, report.override.all]) expect(m.correct.filter(Boolean).length / 24).toBeCloseTo(m.accuracy, 12);
  });

  it('answers existence questions, and says what the policy says', async () => {
    expect(report.forgetting.existence.n).toBe(4 * 24);
    expect(report.forgetting.existence.accuracy).toBeGreaterThan(0.7);
    // Without a picture, it looks up what stands beside an id: 70 % of 200 are right, chance among seven is 14 %.
    expect(report.forgetting.textTask!.n).toBe(24);
    expect(report.forgetting.textTask!.accuracy).toBeGreaterThan(0.65);
    expect(report.referral).toBeGreaterThan(6);
    // Each policy's two reasoned examples show two of its cases.
    const unseen = data.test.filter(({ example: e }) => !data.train.some(({ example: t }) => t.policyId === e.policyId && t.leaf === e.leaf));
    expect(unseen.length).toBeGreaterThan(8);
    expect(report.unseenCells!.n).toBe(unseen.length);
    expect(report.promptTokensWithPolicy - report.promptTokens).toBe(25);
  });

  it('rows of the stages: what stands in them, and where the loss is', () => {
    const [item] = writer.task(data).train;
    const { config } = model;
    const visual = (id: number) => [config.visionStartTokenId, config.visionEndTokenId, config.imageTokenId].includes(id);
    const response = data.train[0]!.example.response;
    const read = (kind: 'vm-cpt' | 'cpt' | 'cot-sft' | 'direct-sft') => {
      const { sequence: { inputIds }, lossMask } = item!.row(kind);
      const ids = Array.from(inputIds);
      return { ids, mask: Array.from(lossMask), trained: writer.text(ids.filter((_, i) => lossMask[i] === 1)) };
    };
    const masked = read('vm-cpt');
    expect(masked.mask).toEqual(masked.ids.map((id) => (visual(id) ? 0 : 1)));
    expect(masked.ids.slice(0, item!.prompt(true).inputIds.length)).toEqual(Array.from(item!.prompt(true).inputIds));
    expect(masked.ids.filter(visual).length).toBeGreaterThan(32);
    expect(read('cpt')).toEqual({ ...masked, mask: masked.ids.map(() => 1), trained: expect.any(String) });
    expect(read('cot-sft').trained).toBe(response);
    expect(read('cot-sft').ids.slice(0, item!.prompt(false).inputIds.length)).toEqual(Array.from(item!.prompt(false).inputIds));
    expect(read('direct-sft').trained).toBe(`\\boxed{ ${data.train[0]!.example.answer} }`);
  });

  it('existence questions are as many yes as no', () => {
    const answers = data.test.flatMap(({ example }) => existenceQuestions(example.scene, { seed: `forgetting ${example.id}`, count: 4 }).map((q) => q.answer));
    expect(answers.filter((a) => a === 'yes')).toHaveLength(answers.length / 2);
  });
});

describe('the small base', () => {
  it('follows policies of four levels, policies with pictures, and rules of tools in context', async () => {
    const files = smallBase();
    const small = new VisionLanguageModel(new WebGpuEngine(device), parseConfig(JSON.parse(await requireText(files, 'config.json'))));
    await small.load(await openCheckpoint(files));
    const writer = new PromptWriter(small, new WordCodec(await Tokenizer.load(files)));
    const config = { seed: 78, policies: 4, trainPerPolicy: 1, reasonedPerPolicy: 1, testSize: 48 };
    const share = async (task: Task) => (await measureAccuracy({ model: small, task, maxNewTokens: 46, check: async () => undefined }, task.test, true)).proportion.accuracy;
    const reached = {
      four: await share(writer.task(await makeRunData(small, { ...config, n: 4 }))),
      pictures: await share(writer.task(await makeRunData(small, { ...config, n: 2, variant: 'm' }))),
      tools: await share(writer.gtaTask(await makeGtaRunData(small, config))),
    };
    // Of 320 scenes (docs/results/small-base.md) it is right on 94.8, 94.8 and, by the paper's rules, 44.0 %; chance is 8, 26 and 29 %.
    expect(reached.four).toBeGreaterThan(0.85);
    expect(reached.pictures).toBeGreaterThan(0.85);
    expect(reached.tools).toBeGreaterThan(0.35);
    small.dispose();
  }, 300_000);
});

describe('the canonical prose', () => {
  it('says the same trees, and its tokens are those of the tokenizer', async () => {
    const compact = clevrPolicy({ seed: 'prose', n: 2, policies: 3, style: 'compact', train: 0, test: 1, width: 128, height: 96, crop: { x: 0, y: 16, width: 128, height: 64 }, scene: { minObjects: 3, maxObjects: 5, minPixels: 40 } });
    const prose = clevrPolicy({ seed: 'prose', n: 2, policies: 3, style: 'canonical', train: 0, test: 0 });
    const features = new Float32Array(32 * 160);
    const found = await measureCanonical(model, tokenizer, compact, { gridThw: [1, 8, 16], features });
    prose.policies.forEach((p, i) => expect(p.tree).toEqual(compact.policies[i]!.tree));
    const count = (text: string) => tokenizer.encode(text).length;
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    // 32 cells and the two marks of the image.
    expect(found.withoutPolicy).toBeCloseTo(34 + mean(prose.policies.map((p) => count(p.query))), 9);
    expect(found.withPolicy - found.withoutPolicy).toBeCloseTo(mean(prose.policies.map((p) => count(p.text))), 9);
    expect(1 - found.withoutPolicy / found.withPolicy).toBeGreaterThan(0.8);
    expect(found.prefillMs!.withPolicy).toBeGreaterThan(0);
  });
});
