/** `demo`, `reproduce`, `pretrain` and `bench` from beginning to end, each as a process of its own with as little to do as it can have. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { RunReport } from '@trimpi/eval';
import { type PretrainRecipe, type ReproduceResults, type RowName, type RowResult, SMALL_BASE_RECIPE, TINY_BASE_RECIPE } from '@trimpi/pipeline';
import { openDevice } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { shareOf } from '../src/pretrain.ts';
import { readOverrides } from '../src/reproduce.ts';
import { type Ran, scratch, trimpi, trimpiProcess } from './helpers.ts';

const dir = scratch();
afterAll(() => dir.remove());
const file = (name: string, text: string): string => {
  writeFileSync(dir.path(name), text);
  return dir.path(name);
};
type Line = Record<string, unknown>;
/** Every line of standard output is JSON, or this throws. */
const lines = ({ code, stdout, stderr }: Ran): Line[] => {
  expect(code, stderr).toBe(0);
  return stdout.trim().split('\n').map((line) => JSON.parse(line) as Line);
};
const json = <T>(...parts: string[]): T => JSON.parse(readFileSync(dir.path(...parts), 'utf8')) as T;
const expectFiles = (folder: string, names: readonly string[]) => {
  for (const name of names) expect(existsSync(dir.path(folder, name)), name).toBe(true);
};

const STAGES = { vmCpt: { steps: 1, batchSize: 2 }, sft: { steps: 1, batchSize: 2 }, rl: { steps: 1, promptsPerStep: 2, rollouts: 2, maxNewTokens: 12 } };
const SIZES = { policies: 2, trainPerPolicy: 4, reasonedPerPolicy: 2, testSize: 4, saveSteps: 1 };

describe('trimpi demo', () => {
  it('trains, measures and reports with a file of settings, its seed among them; given again, it has nothing to do', async () => {
    const args = ['demo', '--config', file('demo.json', JSON.stringify({ ...SIZES, ...STAGES, seed: 6, n: 1, arms: ['poro-grpo'] })), '--out', dir.path('demo')];
    const events = lines(await trimpiProcess(...args, '--json'));
    expect(events.filter((e) => e['type'] === 'step').map((e) => [e['stage'], e['step']])).toEqual([['vm-cpt', 1], ['cot-sft', 1], ['poro-grpo', 1]]);
    const report = json<RunReport>('demo', 'report.json');
    expect(report).toMatchObject({ seed: 6, settings: { ...SIZES, n: 1, seed: 6 } });
    expect(report.stages.map((s) => [s.name, s.n])).toEqual([['base', 4], ['vm-cpt', 4], ['cot-sft', 4], ['poro-grpo', 4]]);
    expect(events.at(-1)).toEqual({ type: 'report', out: dir.path('demo'), report });
    expectFiles('demo', ['report.html', 'model/model.safetensors', 'model/tokenizer.json', 'adapter/adapter_config.json', 'metrics-poro-grpo.jsonl', 'completions-poro-grpo.jsonl', 'tensorboard/poro-grpo/events.out.tfevents.0000000000.trimpi']);

    const again = await trimpiProcess(...args);
    expect(again.code, again.stderr).toBe(0);
    expect(again.stdout).toContain('CoT SFT (LoRA), PolicyRollout on GRPO done');
    expect(again.stdout).not.toContain('step 1/1');
    expect(again.stdout).toMatch(/Majority answer +\d/);
    const other = await trimpi(...args, '--seed', '7', '--json');
    expect([other.code, other.stdout]).toEqual([2, '']);
    expect(JSON.parse(other.stderr)).toMatchObject({ exitCode: 2, error: expect.stringContaining('other settings') });
  });
});

it.each(['5', 'null', '"str"', '[1]'])('trimpi demo refuses %s as its settings', async (text) => {
  const path = file('none.json', text);
  const { code, stderr } = await trimpi('demo', '--config', path, '--out', dir.path('none'));
  expect(stderr).toContain(`--config ${path} holds ${text}. Give a JSON object`);
  expect(code).toBe(2);
  expect(existsSync(dir.path('none'))).toBe(false);
});

describe('trimpi reproduce', () => {
  const settings = file('table.yaml', 'policies: 2\ntrainPerPolicy: 4\nreasonedPerPolicy: 2\ntestSize: 4\nsuiteSize: 4\nsaveSteps: 1\nvmCpt: { steps: 1, batchSize: 2 }\nsft: { steps: 1, batchSize: 2, weightDecay: 0.1 }\nrl: { steps: 1, promptsPerStep: 2, rollouts: 2 }\n');

  it('makes rows with settings of a file, a table of them, and goes on with further rows', async () => {
    const args = (rows: string) => ['reproduce', '--seeds', '3', '--rows', rows, '--config', settings, '--out', dir.path('table'), '--json'];
    const first = lines(await trimpiProcess(...args('in-context,cot-sft')));
    expect(first.filter((e) => e['type'] === 'row').map((e) => e['row'])).toEqual(['in-context', 'cot-sft']);
    const events = lines(await trimpiProcess(...args('in-context,cot-sft,cot-sft+poro-grpo')));
    expect(events.filter((e) => e['type'] === 'row').map((e) => e['row'])).toEqual(['cot-sft+poro-grpo']);
    expect(events.filter((e) => e['type'] === 'step').map((e) => [e['stage'], e['step']])).toEqual([['cot-sft+poro-grpo', 1]]);

    const results = json<ReproduceResults>('table', 'results.json');
    expect(events.at(-1)).toEqual(results);
    expect(results).toMatchObject({ scale: 'tiny', missing: [], settings: { 'N=2': { suiteSize: 4, sft: { steps: 1, weightDecay: 0.1, r: 8 }, rl: { rollouts: 2, temperature: 1 } } } });
    expect(results.rows.map((r) => [r.row, r.seeds])).toEqual([['in-context', [3]], ['cot-sft', [3]], ['cot-sft+poro-grpo', [3]]]);
    for (const { row } of results.rows) expect(json<RowResult>('table', 'n2', 'seed-3', `${row}.json`).suite.accuracy.n, row).toBe(4);
    const table = readFileSync(dir.path('table', 'results.md'), 'utf8');
    for (const { title } of results.rows) expect(table).toContain(`| ${title} |`);
    expectFiles('table', ['results.html', 'n2/settings.json', 'n2/seed-3/baselines.json']);

    // Rows of other settings must not meet in one table.
    const plain = await trimpi('reproduce', '--seeds', '3', '--rows', 'in-context', '--out', dir.path('table'));
    expect(plain).toMatchObject({ code: 2, stderr: expect.stringContaining('other settings') });
  });

  it.each([
    ['sft:\n  step: 3\n', ':2:3: sft.step is no setting. Did you mean steps?'],
    ['testSize: many\n', ':1:11: testSize must be a number'],
    ['testSize: 0\n', ':1:11: testSize: is 0'],
    ['directSft:\n  loraAlpha: 0\n', ':2:14: directSft.loraAlpha: is 0'],
    ['rl:\n  rollouts: 3\n', ':2:13: rl.rollouts: is 3'],
    ['checkpoint: {}\n', ':1:1: checkpoint is no setting'],
  ])('refuses %j with its line', async (text, words) => {
    const path = file('bad.yaml', text);
    const { code, stderr } = await trimpi('reproduce', '--config', path, '--out', dir.path('bad'));
    expect(stderr).toContain(`${path}${words}`);
    expect(code).toBe(2);
    expect(existsSync(dir.path('bad'))).toBe(false);
  });

  it('a KL penalty needs a model to keep near to: with all parameters trained there is none', () => {
    const path = file('full.yaml', 'rl: { beta: 0.1 }\n');
    const table = { n: [2], benchmarks: ['clevr-t'], rows: ['cot-sft+grpo'], scale: 'full' } as const;
    expect(readOverrides(path, { ...table, checkpoint: {} })).toEqual({ rl: { beta: 0.1 } });
    expect(() => readOverrides(path, { ...table, checkpoint: { tune: 'full' } })).toThrow(/full\.yaml:1:13: rl\.beta: is 0\.1, and full training/);
  });

  it('a stage with nothing behind it is as if it were left out', () => {
    const table = { n: [2], benchmarks: ['clevr-t'], rows: ['cot-sft+grpo'], scale: 'tiny', checkpoint: undefined } as const;
    expect(readOverrides(file('empty.yaml', 'rl:\ntestSize: 9\n'), table)).toEqual({ testSize: 9 });
    expect(readOverrides(file('empty.yaml', '\n'), table)).toEqual({});
  });

  it('a KL penalty is for the rows that have one, and refused where none has', () => {
    const path = file('kl.yaml', 'rl:\n  beta: 0.01\n');
    const table = (rows: readonly RowName[]) => readOverrides(path, { n: [2], benchmarks: ['clevr-t'], rows, scale: 'tiny', checkpoint: undefined });
    expect(table(['cot-sft+grpo', 'cot-sft+poro-dapo'])).toEqual({ rl: { beta: 0.01 } });
    expect(() => table(['cot-sft', 'cot-sft+poro-dapo'])).toThrow(/kl\.yaml:2:9: rl\.beta: is 0\.01, and DAPO has no KL penalty\. Add rows that have one/);
  });

  it('an objective that is in no row refuses nothing', () => {
    const path = file('kl.yaml', 'rl: { beta: 0.1 }\n');
    expect(readOverrides(path, { n: [2], benchmarks: ['clevr-t'], rows: ['cot-sft+grpo'], scale: 'tiny', checkpoint: undefined })).toEqual({ rl: { beta: 0.1 } });
  });
});

describe('trimpi pretrain', () => {
  it('makes a base of a share of the recipe, which a run begins with', async () => {
    const args = ['pretrain', '--share', '0.0001', '--out', dir.path('base'), '--json'];
    const events = lines(await trimpiProcess(...args));
    expect(events.filter((e) => e['kind'] === 'step').map((e) => [e['stage'], e['done']])).toEqual([['vision', 1], ['repeat', 1], ['drill', 1], ['mix', 1]]);
    expect(events.slice(0, -1).map((e) => e['kind'])).toEqual(['drawn', 'drawn', 'step', 'vision', 'step', 'step', 'aligned', 'step', 'measured']);
    const { recipe, ...result } = json<Line & { recipe: PretrainRecipe }>('base', 'pretrain.json');
    expect(events.at(-1)).toEqual(result);
    expect(recipe).toEqual(shareOf(TINY_BASE_RECIPE, 0.0001));
    expectFiles('base', ['model.safetensors', 'config.json', 'tokenizer.json', 'tokenizer_config.json']);
    // What is done is said again, and not done again; the whole recipe is another base.
    expect(lines(await trimpiProcess(...args))).toEqual([result]);
    expect(await trimpiProcess('pretrain', '--out', dir.path('base'))).toMatchObject({ code: 1, stderr: expect.stringContaining('another recipe') });

    const run = file('run.yaml', `base: ${dir.path('base')}\nout: ${dir.path('run')}\nn: 1\npolicies: 1\ntrainPerPolicy: 2\nreasonedPerPolicy: 1\ntestSize: 2\nvmCpt: { steps: 0 }\nsft: { steps: 1, batchSize: 1 }\narms: []\n`);
    const trained = await trimpi('train', run);
    expect(trained.code, trained.stderr).toBe(0);
    expect(json<RunReport>('run', 'report.json').stages.map((s) => s.name)).toEqual(['base', 'vm-cpt', 'cot-sft']);
  });

  it('a share is of everything that costs time, and never less than a step', () => {
    for (const recipe of [TINY_BASE_RECIPE, SMALL_BASE_RECIPE]) {
      expect(shareOf(recipe, 1)).toEqual(recipe);
      const half = shareOf(recipe, 0.5);
      expect([half.vision.steps, half.vision.scenes, half.text.scenes, half.text.repeatTokens, half.text.drillTokens]).toEqual([recipe.vision.steps, recipe.vision.scenes, recipe.text.scenes, recipe.text.repeatTokens, recipe.text.drillTokens].map((x) => x / 2));
      expect(half.text.mix.map((m) => m.tokens)).toEqual(recipe.text.mix.map((m) => m.tokens / 2));
      const least = shareOf(recipe, 1e-6);
      expect(least.vision).toMatchObject({ steps: 1, scenes: recipe.vision.batch });
      expect(least.measure.scenes).toBe(recipe.vision.batch);
    }
  });

  it('multiplies in half floats where there are matrix units, and says so where there are none', async () => {
    const device = await openDevice({ experimental: true });
    const { matrixUnits } = device.adapter;
    device.dispose();
    const { code, stderr } = await trimpiProcess('pretrain', '--share', '0.000001', '--matmul', 'f16', '--out', dir.path('half'));
    if (matrixUnits) expect(code, stderr).toBe(0);
    else expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/--matmul f16 needs a GPU with matrix units .*Leave it out\./) });
    expect(existsSync(dir.path('half', 'pretrain.json'))).toBe(matrixUnits);
  });

  it.each(['0', '2', 'x'])('refuses a share of %s', async (share) => {
    const { code, stderr } = await trimpi('pretrain', '--share', share, '--out', dir.path('none'));
    expect(stderr).toContain('Give a number from');
    expect(code).toBe(2);
    expect(existsSync(dir.path('none'))).toBe(false);
  });
});

describe('trimpi bench', () => {
  it('measures kernels, training and sampling, as one JSON object', async () => {
    const ran = await trimpiProcess('bench', '--turns', '1', '--json');
    const [said, ...more] = lines(ran) as { adapter: Line; turns: number; results: { name: string; ms: number; rate: number; unit: string }[] }[];
    expect(more).toEqual([]);
    expect(said).toMatchObject({ turns: 1, adapter: { description: expect.any(String), software: expect.any(Boolean) } });
    expect(said!.results.map((r) => [r.name.split(/[:,]| \d/)[0], r.unit])).toEqual([
      ...Array.from({ length: 3 }, () => ['matrix product', 'GFLOP/s']), ['causal attention', 'GFLOP/s'], ['tiny base', 'tokens/s'], ['tiny base', 'tokens/s'],
    ]);
    // Figures belong together: two operations for each product of the first, and 3072 tokens sampled in the last.
    const [first, last] = [said!.results[0]!, said!.results.at(-1)!];
    expect(first.rate).toBeCloseTo((2 * 768 ** 3) / first.ms / 1e6, 6);
    expect(last.rate).toBeCloseTo((3072 * 1000) / last.ms, 6);
    for (const { ms } of said!.results) expect(ms).toBeGreaterThan(0);
  });
});
