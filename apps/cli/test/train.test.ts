import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RunReport } from '@trimpi/eval';
import { DEMO_CONFIG, GTA_CONFIG, INTERNALISE_CONFIG } from '@trimpi/pipeline';
import { afterAll, describe, expect, it } from 'vitest';
import { readOwnTrainSettings, readTrainSettings } from '../src/train/command.ts';
import { parseSettings } from '../src/train/settings.ts';
import { scratch, trimpi } from './helpers.ts';

const dir = scratch();
afterAll(() => dir.remove());
const file = (name: string, text: string): string => {
  writeFileSync(dir.path(name), text);
  return dir.path(name);
};

describe('settings', () => {
  it('--defaults prints a file that reads back as the defaults', async () => {
    const { code, stdout } = await trimpi('train', '--defaults');
    expect(code).toBe(0);
    expect(stdout).toContain('# questions of a step');
    expect(readTrainSettings(stdout, 'defaults.yaml')).toEqual({ out: 'runs/train', base: 'tiny', config: DEMO_CONFIG });
    expect(readTrainSettings('# nothing\n', 'empty.yaml').config).toEqual(DEMO_CONFIG);
  });

  it('--defaults own prints the settings of data and a checkpoint of one\'s own', async () => {
    const { code, stdout } = await trimpi('train', '--defaults', 'own');
    expect(code).toBe(0);
    expect(() => readOwnTrainSettings(stdout, 'own.yaml')).toThrow(/own\.yaml:\d+:7: data is missing/);
    const named = stdout.replace('data: ""', 'data: sorting').replace('model: ""', 'model: models/qwen');
    expect(readOwnTrainSettings(named, 'own.yaml')).toEqual({ out: 'runs/policy', data: 'sorting', model: 'models/qwen', config: INTERNALISE_CONFIG });
    expect(() => readOwnTrainSettings('data: a\nmodel: b\nbits: 5\n', 'own.yaml')).toThrow('own.yaml:3:7: bits: is 5');
    expect(() => readOwnTrainSettings('data: a\nmodel: b\nsft:\n  weightDecay: -1\n', 'own.yaml')).toThrow('own.yaml:4:16: sft.weightDecay: is -1');
    expect(() => readOwnTrainSettings('data: a\nmodel: b\ntune: full\nrl:\n  beta: 0.1\n', 'own.yaml')).toThrow('own.yaml:5:9: rl.beta: is 0.1, and full training has no room');
    expect(readOwnTrainSettings('data: a\nmodel: b\nrl: { beta: 0.1 }\n', 'own.yaml').config.rl).toEqual({ ...INTERNALISE_CONFIG.rl, beta: 0.1 });
    expect(() => readOwnTrainSettings('data: a\nmodel: b\npolicies: 5\n', 'own.yaml')).toThrow('own.yaml:3:1: policies is no setting');
  });

  it('--defaults gta prints those of GTAPolicy, without what belongs to ClevrPolicy', async () => {
    const { code, stdout } = await trimpi('train', '--defaults', 'gta');
    expect(code).toBe(0);
    expect(stdout).not.toMatch(/^(n|variant|policies):/m);
    expect(readTrainSettings(stdout, 'gta.yaml')).toEqual({ out: 'runs/train', base: 'small', config: GTA_CONFIG });
    expect(readTrainSettings('benchmark: gta\nseed: 2\n', 'gta.yaml').config).toEqual({ ...GTA_CONFIG, seed: 2 });
    expect(readTrainSettings('benchmark: clevr\n', 'clevr.yaml').config).toEqual(DEMO_CONFIG);
  });

  it('the file that the README shows is one', () => {
    const [shown] = [...readFileSync(new URL('../README.md', import.meta.url), 'utf8').matchAll(/^```yaml\n([^]*?)^```/gm)].map((m) => m[1]!);
    expect(readTrainSettings(shown!, 'tools.yaml')).toEqual({ out: 'runs/tools', base: 'small', config: { ...GTA_CONFIG, arms: ['poro-grpo'], rl: { ...GTA_CONFIG.rl, steps: 200 } } });
  });

  it.each([['clevr', ''], ['own', 'data: a\nmodel: b\n']])('--defaults %s: every optional setting stands there as a comment that can be taken off', async (kind, more) => {
    const { stdout } = await trimpi('train', '--defaults', kind);
    const bare = stdout.replace(/^(data|model): ""\n/gm, '');
    const all = bare.replace(/^ {2}# (\w+: \S+ # )/gm, '  $1');
    const { vmCpt, sft, rl } = kind === 'own' ? readOwnTrainSettings(`${more}${all}`, 'own.yaml').config : readTrainSettings(all, 'all.yaml').config;
    const training = { warmupSteps: 5, lrSchedulerType: 'linear', weightDecay: 0, maxGradNorm: 1, onNonFinite: 'throw', earlyStoppingPatience: 20, earlyStoppingThreshold: 0 };
    expect(vmCpt).toMatchObject(training);
    expect(sft).toMatchObject(training);
    expect(rl).toMatchObject({ ...training, warmupSteps: 20, beta: 0, epsilon: 0.2, epsilonHigh: 0.3, promptsPerUpdate: 8, numIterations: 1, dynamicSampling: true, maskTruncatedCompletions: false, softPunishCache: 8 });
  });

  it('what a file leaves out has its default at every depth; JSON is read too', () => {
    const want = { ...DEMO_CONFIG, seed: 9, rl: { ...DEMO_CONFIG.rl, steps: 3 } };
    expect(readTrainSettings('seed: 4\nrl:\n  steps: 3\nout: x\n', 'a.yaml', { seed: 9 })).toEqual({ out: 'x', base: 'tiny', config: want });
    expect(readTrainSettings('{"rl": {"steps": 3}, "seed": 9}', 'a.json').config).toEqual(want);
  });

  it.each([
    ['an unknown setting', 'seed: 1\nsteps: 3\n', ':2:1: steps is no setting'],
    ['a misspelt one inside', 'rl:\n  rolouts: 4\n', ':2:3: rl.rolouts is no setting. Did you mean rollouts?'],
    ['a wrong type', 'seed: 1\nrl:\n  steps: many\n', ':3:10: rl.steps must be a number'],
    ['a value out of range', 'rl:\n  promptsPerStep: 4\n  rollouts: 5\n', ':3:13: rl.rollouts: is 5'],
    ['a range of the outermost', '\nn: 9\n', ':2:4: n: is 9'],
    ['a rate below 0', 'rl:\n  learningRate: -5\n', ':2:17: rl.learningRate: is -5'],
    ['a temperature of 0', 'rl:\n  temperature: 0\n', ':2:16: rl.temperature: is 0. Give a number above 0'],
    ['no tokens', 'rl:\n  maxNewTokens: 0\n', ':2:17: rl.maxNewTokens: is 0'],
    ['half a rank', 'sft:\n  r: 1.5\n', ':2:6: sft.r: is 1.5'],
    ['no scale of the adapter', 'sft:\n  loraAlpha: -1\n', ':2:14: sft.loraAlpha: is -1'],
    ['a rate of nothing', 'vmCpt:\n  learningRate: 0\n', ':2:17: vmCpt.learningRate: is 0'],
    ['a benchmark that is none', 'benchmark: gat\n', ':1:12: benchmark: is gat. Give one of clevr, gta'],
    ['a depth of rules of tools', 'benchmark: gta\nn: 2\n', ':2:4: n belongs to ClevrPolicy, and benchmark is gta'],
    ['several policies of tools', 'benchmark: gta\npolicies: 1\n', ':2:11: policies belongs to ClevrPolicy'],
    ['tools on the tiny base', 'benchmark: gta\nbase: tiny\n', ":2:7: base is tiny, which does not know GTAPolicy's words. Set base: small"],
    ['a schedule that is none', 'sft:\n  lrSchedulerType: polynomial\n', ':2:20: sft.lrSchedulerType: is polynomial. Give one of constant, linear, cosine'],
    ['neither thrown nor skipped', 'sft:\n  onNonFinite: ignore\n', ':2:16: sft.onNonFinite: is ignore. Give throw or skip'],
    ['a longer warm-up than the stage', 'vmCpt:\n  warmupSteps: 41\n', ':2:16: vmCpt.warmupSteps: is 41. Give a whole number from 0 to 40'],
    ['a misspelt optional setting', 'rl:\n  epsilonHih: 0.3\n', ':2:3: rl.epsilonHih is no setting. Did you mean epsilonHigh?'],
    ['an option of RL elsewhere', 'sft:\n  beta: 0.1\n', ':2:3: sft.beta is no setting'],
    ['a penalty of another type', 'rl:\n  beta: strong\n', ':2:9: rl.beta must be a number'],
    ['a penalty that no arm has', 'arms: [dapo, poro-dapo]\nrl:\n  beta: 0.1\n', ':3:9: rl.beta: is 0.1, and DAPO has no KL penalty'],
    ['no yes or no', 'rl:\n  dynamicSampling: 5\n', ':2:20: rl.dynamicSampling must be true or false'],
    ['a decay below 0', 'sft:\n  weightDecay: -0.1\n', ':2:16: sft.weightDecay: is -0.1'],
    ['a threshold alone', 'sft:\n  earlyStoppingThreshold: 0.1\n', ':2:27: sft.earlyStoppingThreshold: is of no use without a patience'],
    ['policies too deep for the base', 'n: 4\n', ':1:4: n is 4, and the tiny base follows policies up to three deep'],
    ['pictures that the base does not know', 'variant: m\n', ':1:10: variant is m, and the tiny base knows no pictures'],
    ['a doubled setting', 'seed: 1\nseed: 2\n', ':2:1: Map keys must be unique'],
    ['a wrong word of a list', 'arms: [grpo, poro-grpoo]\n', ':1:14: arms[1] is poro-grpoo. Did you mean poro-grpo?'],
    ['no settings where some belong', 'rl: 3\n', ':1:5: rl must hold settings'],
    ['a list', '- 1\n', ':1:1: The file must hold settings'],
    ['broken YAML', 'rl: {steps: 3\n', ':2:1: '],
    ['broken JSON', '{"seed": }', ':1:'],
    ['not a number', 'seed: .nan\n', ':1:7: seed must be a number'],
  ])('%s is refused with its line', async (_what, text, words) => {
    const path = file('bad.yaml', text);
    if (_what !== 'broken JSON') expect(() => readTrainSettings(text, path)).toThrow(`${path}${words}`);
    const { code, stderr } = await trimpi('train', path);
    expect(code).toBe(2);
    expect(stderr.replaceAll('\n', '')).toMatch(/bad\.yaml:\d+:\d+: /);
  });

  it('a setting that the file does not have is complained about at its owner', () => {
    const { fail } = parseSettings('a:\n  b: 1\n', 'f', { a: { b: 1, c: 2 } });
    expect(() => fail('a.c', 'no')).toThrow('f:2:3: no');
  });
});

describe('trimpi train', () => {
  const SMALL = `out: ${dir.path('run')}
policies: 2
trainPerPolicy: 4
reasonedPerPolicy: 2
testSize: 4
n: 1
vmCpt: { steps: 2, batchSize: 2 }
sft: { steps: 4, batchSize: 2 }
rl: { steps: 2, promptsPerStep: 2, rollouts: 2, maxNewTokens: 8 }
arms: [poro-grpo]
saveSteps: 1
`;

  it('Ctrl-C saves, --resume goes on, and eval measures what the report says', async () => {
    const path = file('small.yaml', SMALL);
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@trimpi/source', main, 'train', path, '--json'], { cwd: fileURLToPath(new URL('..', import.meta.url)) });
    let stdout = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      if (stdout.includes('"stage":"cot-sft","step":2')) child.kill('SIGINT');
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    expect(await new Promise((done) => child.on('close', done)), stderr).toBe(130);
    for (const line of stdout.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('type');
    expect(existsSync(dir.path('run', 'run.json'))).toBe(true);

    expect(await trimpi('train', path)).toMatchObject({ code: 2, stderr: expect.stringContaining('--resume') });
    const resumed = await trimpi('train', path, '--resume', '--json');
    expect(resumed.code, resumed.stderr).toBe(0);
    const events = resumed.stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.find((e) => e['type'] === 'stage')).toMatchObject({ stage: 'cot-sft' });
    expect(events.at(-1)!['type']).toBe('report');
    const report = JSON.parse(readFileSync(dir.path('run', 'report.json'), 'utf8')) as { chance: number; majority: number; shortcuts: unknown; inContext: { accuracy: number; promptTokens: number }; stages: { accuracy: number; low: number; high: number; n: number }[] };

    const evaluated = JSON.parse((await trimpi('eval', dir.path('run'), '--json')).stdout) as Record<string, unknown>;
    const { accuracy, low, high, n } = report.stages.at(-1)!;
    expect(evaluated).toMatchObject({ accuracy, low, high, n, chance: report.chance, majority: report.majority, shortcuts: report.shortcuts });
    expect((await trimpi('eval', dir.path('run'))).stdout).toMatch(/\nmajority .*\nshortcuts +[\d.]+ % by the number of objects, [\d.]+ % by a histogram of attributes\n/);
    const aware = JSON.parse((await trimpi('eval', dir.path('run'), '--with-policy', '--json')).stdout) as { promptTokens: number };
    expect(aware.promptTokens).toBe(report.inContext.promptTokens);
    const settings = await trimpi('train', path, '--resume', '--seed', '3');
    expect(settings).toMatchObject({ code: 2, stderr: expect.stringContaining('other settings') });
  });

  it('a reader that goes away is as Ctrl-C', async () => {
    const path = file('piped.yaml', SMALL.replace(dir.path('run'), dir.path('piped')));
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@trimpi/source', main, 'train', path, '--json'], { cwd: fileURLToPath(new URL('..', import.meta.url)) });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    // As `trimpi train ... | head -1` does.
    child.stdout.once('data', () => child.stdout.destroy());
    expect(await new Promise((done) => child.on('close', done)), stderr).toBe(130);
    expect(stderr).not.toContain('EPIPE');
    expect(existsSync(dir.path('piped', 'run.json'))).toBe(true);
  });

  it('GTAPolicy: report and eval say the same of calls, with the policy and without', async () => {
    const path = file('tools.yaml', `benchmark: gta\nout: ${dir.path('tools')}\ntrainPerPolicy: 2\nreasonedPerPolicy: 2\ntestSize: 6\nvmCpt: { steps: 0 }\nsft: { steps: 0 }\narms: []\n`);
    const trained = await trimpi('train', path);
    expect(trained.code, trained.stderr).toBe(0);
    expect(trained.stdout).toMatch(/accuracy +95 % interval +tool +arguments +overall/);
    const report = JSON.parse(readFileSync(dir.path('tools', 'report.json'), 'utf8')) as RunReport;
    expect(report.settings).toMatchObject({ benchmark: 'gta', trainPerPolicy: 2 });
    // Nothing was trained: the model that is left is the base, and answers as it did.
    for (const [measured, ...more] of [[report.stages.at(-1)!], [report.inContext, '--with-policy']] as const) {
      const { code, stdout, stderr } = await trimpi('eval', dir.path('tools'), '--json', ...more);
      expect(code, stderr).toBe(0);
      const said = JSON.parse(stdout) as { tool: number; arguments: number; reward: { mean: number } };
      expect(said).toMatchObject({ shortcuts: null, n: 6, accuracy: measured.accuracy, tool: measured.calls!.tool, chance: report.chance, majority: report.majority, promptTokens: measured.promptTokens });
      expect(said.arguments).toBeCloseTo(measured.calls!.arguments, 12);
      expect(said.reward.mean).toBeCloseTo(measured.calls!.overall, 12);
    }
    // The base follows some of the rules when it reads them: not all that is compared is zero.
    expect(report.inContext.calls!.overall).toBeGreaterThan(0);
    const spoken = await trimpi('eval', dir.path('tools'), '--with-policy', '--limit', '1');
    expect(spoken.stdout).toMatch(/accuracy .*\ntool .*\narguments .*\noverall /);
  });
});
