/** Optional settings of the stages: what is left out changes nothing, what is given reaches the trainer. */
import { bytesSource, openCheckpoint, parseConfig, requireText, SafetensorsFile, Tokenizer, VisionLanguageModel, loraConfig } from '@trimpi/model';
import type { Metrics } from '@trimpi/trainers';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ALGORITHMS, makeRunData, memoryStorage, PromptWriter, type ReproduceOverrides, reproduceSettings, resolveConfig, resolveInternaliseConfig, type RlConfig, run, type RunEvent, type RunOverrides, type StageConfig, type Task, WordCodec } from '../src/index.ts';
import type { StageStep, TrainContext } from '../src/train/context.ts';
import { objectiveOf, trainRl } from '../src/train/reinforce.ts';
import { trainSupervised } from '../src/train/supervised.ts';
import { randomBase } from './random-base.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
const base = await randomBase(engine);
const model = new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(base, 'config.json'))));
const data = resolveConfig({ seed: 5, policies: 2, trainPerPolicy: 6, reasonedPerPolicy: 2, testSize: 2 });
let task: Task;
beforeAll(async () => {
  await model.load(await openCheckpoint(base));
  const own = new PromptWriter(model, new WordCodec(await Tokenizer.load(base))).task(await makeRunData(model, data));
  // A model that knows nothing is never right: here its words are worth something, but in one question of three.
  const letters = (text: string) => [...text].reduce((n, c) => n + (c === 'e' ? 1 : 0), 0);
  task = { ...own, train: own.train.map((item, i) => ({ ...item, score: (text) => ({ accuracy: i % 3 === 0 ? 0 : (letters(text) % 4) / 4, format: 0 }) })) };
});
afterAll(() => device.dispose());

interface Result {
  readonly weights: readonly number[];
  readonly metrics: readonly Metrics[];
  readonly notes: readonly string[];
  readonly shown: readonly StageStep[];
}

async function train(stage: (context: TrainContext) => Promise<{ readonly metrics: readonly Metrics[] }>, adapter: boolean, own = task): Promise<Result> {
  await model.load(await openCheckpoint(base));
  if (adapter) model.addAdapter('policy', loraConfig({ r: 2, loraAlpha: 4 }), 1);
  const notes: string[] = [];
  const shown: StageStep[] = [];
  try {
    const { metrics } = await stage({ model, task: own, storage: memoryStorage(), seed: 3, saveSteps: 100, onBegin: () => undefined, onStep: (step) => shown.push(step), onNote: (text) => notes.push(text), ...(adapter ? { adapter: 'policy' } : {}) });
    return { weights: [...(await (adapter ? model.adapter('policy').store : model.text).values.read())], metrics, notes, shown };
  } finally {
    if (adapter) model.removeAdapter('policy');
  }
}
const supervised = (more: Partial<StageConfig> = {}, adapter = false) => train((context) => trainSupervised(context, { stage: 'vm-cpt', title: 'VM-CPT', kind: 'vm-cpt', settings: { steps: 3, batchSize: 2, learningRate: 1e-3, ...more } }), adapter);
const reinforced = (more: Partial<RlConfig> = {}, { adapter = false, algorithm = 'poro-grpo' as (typeof ALGORITHMS)[number], own = task } = {}) =>
  train((context) => trainRl(context, { stage: algorithm, title: 'RL', algorithm, settings: { steps: 3, learningRate: 2e-3, promptsPerStep: 3, rollouts: 4, temperature: 1, maxNewTokens: 5, ...more } }), adapter, own);

describe('what is left out', () => {
  it('is not in the settings: a run that an earlier version saved is gone on with', () => {
    // As `run.json` of 0.1 has them, but for the rate of RL, which was 0.0007 until 28 November: such a run is asked for by its rate.
    expect(JSON.stringify(resolveConfig({ seed: 2 }))).toBe('{"seed":2,"n":2,"variant":"t","policies":4,"trainPerPolicy":100,"reasonedPerPolicy":4,"testSize":200,"vmCpt":{"steps":40,"batchSize":16,"learningRate":0.0004},"sft":{"steps":30,"batchSize":16,"learningRate":0.003,"r":8,"loraAlpha":16},"rl":{"steps":140,"learningRate":0.0004,"promptsPerStep":16,"rollouts":8,"temperature":1,"maxNewTokens":26},"arms":["grpo","poro-grpo"],"saveSteps":20}');
  });

  it('holds as the documentation says: the same bits as with the default written down', async () => {
    const common = { warmupSteps: 3, lrSchedulerType: 'linear', weightDecay: 0, maxGradNorm: 1 } as const;
    expect((await supervised(common)).weights).toEqual((await supervised()).weights);
    expect((await reinforced({ ...common, beta: 0, epsilon: 0.2, epsilonHigh: 0.3, promptsPerUpdate: 3, numIterations: 1, dynamicSampling: false, maskTruncatedCompletions: false })).weights).toEqual((await reinforced()).weights);
  });

  it('defaults of the clips are those that are written down', () => {
    const rows = { logps: [-1, -2, -0.5, -1.5], oldLogps: [-1.5, -1.9, -0.8, -0.9], advantages: [1, -0.3], mask: [1, 1, 1, 1], shape: [2, 2] as [number, number] };
    const documented = { grpo: [0.2, 0.3], dapo: [0.2, 0.28], 'dr-grpo': [0.2, 0.2], rloo: [0.2, 0.2], gspo: [3e-4, 4e-4], cispo: [undefined, 5], 'reinforce-plus-plus': [0.2, 0.2] } as const;
    for (const [name, [epsilon, epsilonHigh]] of Object.entries(documented)) {
      const algorithm = name as keyof typeof documented;
      expect(objectiveOf(algorithm, { ...(epsilon === undefined ? {} : { epsilon }), epsilonHigh }).loss(rows), name).toEqual(objectiveOf(algorithm).loss(rows));
      expect(objectiveOf(algorithm, { epsilonHigh: 0.01 }).loss(rows).loss, name).not.toBe(objectiveOf(algorithm).loss(rows).loss);
    }
  });
});

describe('a supervised stage', () => {
  it.each([{ warmupSteps: 0 }, { lrSchedulerType: 'cosine', warmupSteps: 0 }, { weightDecay: 0.5 }, { maxGradNorm: 1e-3 }] as const)('with %j ends with other weights', async (option) => {
    const before = await supervised('lrSchedulerType' in option ? { warmupSteps: 0 } : {});
    const { weights } = await supervised(option);
    expect(weights).not.toEqual(before.weights);
    expect(weights.every(Number.isFinite)).toBe(true);
  });

  it('goes on behind an update that is not finite where it is told to, and counts it', async () => {
    // A rate at which the products of the second step leave float32.
    const beyond = { steps: 3, warmupSteps: 0, learningRate: 1e25 } as const;
    await expect(supervised(beyond)).rejects.toThrow(/no longer finite.*onNonFinite: skip/);
    const { metrics, weights } = await supervised({ ...beyond, onNonFinite: 'skip' });
    expect(metrics.map((m) => m['skipped_updates'])).toEqual([0, 1, 1]);
    expect(weights.every(Number.isFinite)).toBe(true);
  });

  it('follows its schedule', async () => {
    const rates = async (more: Partial<StageConfig>) => (await supervised({ steps: 4, ...more })).metrics.map((m) => m['learning_rate']! / 1e-3);
    expect(await rates({})).toEqual([0.25, 0.5, 0.75, 1]);
    expect(await rates({ warmupSteps: 2, lrSchedulerType: 'constant' })).toEqual([0.5, 1, 1, 1]);
    expect(await rates({ warmupSteps: 0, lrSchedulerType: 'linear' })).toEqual([1, 0.75, 0.5, 0.25]);
  });

  it('ends early when its loss has not become better by the threshold for so many steps', async () => {
    // No loss falls by a million: the first step is the best.
    const { metrics, notes } = await supervised({ steps: 10, earlyStoppingPatience: 2, earlyStoppingThreshold: 1e6 });
    expect(metrics).toHaveLength(3);
    expect(notes).toEqual(['VM-CPT ends after 3 of 10 steps: 2 without a better loss.']);
    // A loss gets better downwards: at a rate that learns, a patience of all steps is not used up.
    expect((await supervised({ steps: 6, earlyStoppingPatience: 6 })).metrics).toHaveLength(6);
  });
});

describe('RL', () => {
  it.each([
    [{ warmupSteps: 0 }, {}],
    [{ weightDecay: 0.5 }, {}],
    [{ maxGradNorm: 1e-3 }, {}],
    [{ lrSchedulerType: 'constant', warmupSteps: 0 }, { warmupSteps: 0 }],
    [{ beta: 1 }, {}],
    [{ promptsPerUpdate: 1 }, {}],
    [{ numIterations: 2 }, {}],
    // A clip acts on weights that have moved: in the second pass.
    [{ numIterations: 2, epsilon: 0 }, { numIterations: 2 }],
    [{ numIterations: 2, epsilonHigh: 0 }, { numIterations: 2 }],
    [{ maskTruncatedCompletions: true }, {}],
  ] as const)('with %j ends with other weights than with %j, on all parameters and on an adapter', async (option, without) => {
    for (const adapter of [false, true]) {
      const { weights } = await reinforced(option, { adapter });
      expect(weights).not.toEqual((await reinforced(without, { adapter })).weights);
      expect(weights.every(Number.isFinite)).toBe(true);
    }
  });

  it('begins with twenty steps of warm-up, then falls to nothing', async () => {
    const { metrics } = await reinforced({ steps: 24, promptsPerStep: 2, rollouts: 2, maxNewTokens: 2, learningRate: 1e-3 });
    const rates = metrics.map((m) => m['learning_rate']! / 1e-3);
    expect(rates).toHaveLength(24);
    [...Array.from({ length: 20 }, (_, i) => (i + 1) / 20), 1, 0.75, 0.5, 0.25].forEach((rate, i) => expect(rates[i]).toBeCloseTo(rate, 6));
  });

  it('with a KL penalty starts at none, and stays nearer to where it began', async () => {
    const kl = async (beta: number, adapter: boolean) => (await reinforced({ steps: 5, warmupSteps: 0, lrSchedulerType: 'constant', beta }, { adapter })).metrics.map((m) => m['kl']!);
    for (const adapter of [false, true]) {
      const [weak, strong] = [await kl(1e-6, adapter), await kl(10, adapter)];
      // B of a fresh adapter is zero: the model with it is the model without.
      expect(Math.max(weak[0]!, strong[0]!)).toBeLessThan(1e-6);
      expect(strong.at(-1)!).toBeGreaterThan(0);
      expect(strong.at(-1)!).toBeLessThan(weak.at(-1)!);
    }
    expect((await reinforced()).metrics[0]).not.toHaveProperty('kl');
  });

  it('beside an arm with a KL term one without is as if there were none', async () => {
    expect(resolveConfig({ rl: { beta: 0.01 }, arms: ['grpo', 'dapo', 'rloo'] }).rl.beta).toBe(0.01);
    for (const algorithm of ['dapo', 'rloo'] as const) {
      const { metrics, weights } = await reinforced({ beta: 0.5, dynamicSampling: false }, { algorithm });
      expect(metrics[0]).not.toHaveProperty('kl');
      expect(weights).toEqual((await reinforced({ dynamicSampling: false }, { algorithm })).weights);
    }
    const table = (algorithms: readonly ['dapo'] | readonly ['dapo', 'grpo']) => reproduceSettings('tiny', { benchmark: 'clevr-t', n: 2 }, { overrides: { rl: { beta: 0.01 } }, algorithms });
    expect(table(['dapo', 'grpo']).rl.beta).toBe(0.01);
    expect(() => table(['dapo'])).toThrow('DAPO has no KL penalty. Add rows that have one, such as cot-sft+grpo, or take rl.beta out of the settings.');
    expect(() => resolveConfig({ rl: { beta: 0.01 }, arms: ['rloo'] })).toThrow('RLOO has no KL penalty in its loss. Add arms that have one, such as grpo, or take');
  });

  it('samples dynamically or not, whatever the arm', async () => {
    const signal = async (algorithm: 'poro-grpo' | 'poro-dapo', dynamicSampling?: boolean) => {
      const { metrics } = await reinforced({ steps: 2, promptsPerStep: 2, ...(dynamicSampling === undefined ? {} : { dynamicSampling }) }, { algorithm });
      return metrics.map((m) => m['sampled_rollouts']! / 4);
    };
    // Without: two questions a step. With: until two have a signal, or the questions of the run (4) are used up.
    expect(await signal('poro-grpo')).toEqual([2, 2]);
    expect(await signal('poro-dapo', false)).toEqual([2, 2]);
    const dapo = await signal('poro-dapo');
    expect(dapo).not.toEqual([2, 2]);
    expect(await signal('poro-grpo', true)).toEqual(dapo);
    expect(await signal('poro-dapo', true)).toEqual(dapo);
  });

  it('counts long answers against a question', async () => {
    const [plain, punished] = [await reinforced({ steps: 1 }), await reinforced({ steps: 1, softPunishCache: 2 })];
    expect(plain.metrics[0]).not.toHaveProperty(['rewards/overlong/free']);
    const { 'rewards/overlong/free': overlong, reward } = punished.metrics[0]!;
    // Nearly all that a model says which knows nothing is cut off.
    expect(overlong).toBeGreaterThanOrEqual(-1);
    expect(overlong).toBeLessThan(-0.5);
    expect(reward).toBeLessThan(plain.metrics[0]!['reward']!);
  });

  it('a step that kept no question says so: its reward is not 0', async () => {
    const right: Task = { ...task, train: task.train.map((item) => ({ ...item, score: () => ({ accuracy: 1, format: 1 }) })) };
    const { metrics, notes, shown } = await reinforced({ steps: 60, promptsPerStep: 1, rollouts: 2, maxNewTokens: 2, earlyStoppingPatience: 3 }, { algorithm: 'poro-dapo', own: right });
    // One question and twenty in its place a step, until the sixty of the stage are used up.
    expect(metrics.map((m) => m['sampled_rollouts'])).toEqual([42, 42, 36]);
    for (const m of metrics) expect(m).not.toHaveProperty('reward');
    expect(notes).toEqual([]);
    expect(shown.map((s) => s.value)).toEqual(Array.from({ length: 3 }, () => 'no group kept, accuracy 1.00 without, 1.00 with policy'));
    // 60 of 21 a step are 2.86 steps.
    expect(shown.map(({ step, steps, of }) => [step, steps, of])).toEqual([[1, 60, 3], [2, 60, 3], [3, 60, 3]]);
    const [first, , last] = shown.map((s) => s.secondsLeft);
    expect(last).toBe(0);
    // Not 59 times as long.
    expect(first! * shown[0]!.tokensPerSecond).toBeCloseTo((39 / 21) * metrics[0]!['sampled_tokens']!, 6);
    // An early end goes by the reward of all that was sampled: nothing gets better than all right, though nothing is kept.
    for (const m of metrics) expect(m['sampled_reward']).toBeCloseTo(1, 12);
    const early = await reinforced({ steps: 60, promptsPerStep: 1, rollouts: 2, maxNewTokens: 2, earlyStoppingPatience: 1 }, { algorithm: 'poro-dapo', own: right });
    expect([early.metrics.length, early.notes]).toEqual([2, ['RL ends after 2 of 60 steps: 1 without a better reward.']]);
  });

  it('ends early when its reward has not become better', async () => {
    const { metrics, notes } = await reinforced({ steps: 8, earlyStoppingPatience: 1, earlyStoppingThreshold: 5 });
    expect(metrics).toHaveLength(2);
    expect(notes).toEqual(['RL ends after 2 of 8 steps: 1 without a better reward.']);
  });
});

describe('a run', () => {
  const small: RunOverrides = { seed: 5, policies: 2, trainPerPolicy: 6, reasonedPerPolicy: 2, testSize: 4, saveSteps: 1, vmCpt: { steps: 6, batchSize: 2, earlyStoppingPatience: 2, earlyStoppingThreshold: 1e6 }, sft: { steps: 2, batchSize: 2, weightDecay: 0.1 }, rl: { steps: 3, promptsPerStep: 2, rollouts: 2, maxNewTokens: 4, beta: 0.1, learningRate: 1e-3, numIterations: 2 }, arms: ['poro-grpo'] };
  const start = (storage: ReturnType<typeof memoryStorage>, more: { signal?: AbortSignal; onEvent?: (e: RunEvent) => void } = {}) => run({ config: resolveConfig(small), engine, adapterName: 'test', base, storage, ...more });
  const text = async (storage: ReturnType<typeof memoryStorage>) => (await SafetensorsFile.open(bytesSource(storage.files.get('poro-grpo.safetensors')!, 'weights'))).readFloat32('text');

  it('with such settings can be stopped, in a stage that ends early and with a reference, and ends the same', async () => {
    const [straight, stopped] = [memoryStorage(), memoryStorage()];
    const report = await start(straight);
    expect(report.settings).toMatchObject({ rl: { beta: 0.1, numIterations: 2 } });
    expect(new TextDecoder().decode(straight.files.get('metrics-vm-cpt.jsonl')).trim().split('\n')).toHaveLength(3);
    for (const [stage, step] of [['vm-cpt', 2], ['poro-grpo', 2]] as const) {
      const stop = new AbortController();
      await expect(start(stopped, { signal: stop.signal, onEvent: (e) => e.type === 'step' && e.stage === stage && e.step === step && stop.abort() })).rejects.toMatchObject({ code: 'interrupted' });
    }
    await start(stopped);
    expect(new TextDecoder().decode(stopped.files.get('metrics-vm-cpt.jsonl')).trim().split('\n')).toHaveLength(3);
    expect([...(await text(stopped))]).toEqual([...(await text(straight))]);
  });

  it.each([
    ['vmCpt.warmupSteps', { vmCpt: { steps: 3, warmupSteps: 4 } }],
    ['sft.lrSchedulerType', { sft: { lrSchedulerType: 'polynomial' } }],
    ['sft.weightDecay', { sft: { weightDecay: -1 } }],
    ['vmCpt.maxGradNorm', { vmCpt: { maxGradNorm: Infinity } }],
    ['vmCpt.earlyStoppingPatience', { vmCpt: { earlyStoppingPatience: 0 } }],
    ['sft.earlyStoppingThreshold', { sft: { earlyStoppingThreshold: 0.1 } }],
    ['rl.beta', { rl: { beta: -0.1 } }],
    ['rl.beta', { rl: { beta: 0.1 }, arms: ['dapo', 'poro-dapo'] }],
    ['rl.beta', { rl: { beta: 0.1 }, arms: ['rloo'] }],
    ['rl.epsilon', { rl: { epsilon: 1.5 } }],
    ['rl.epsilon', { rl: { epsilon: 0.1 }, arms: ['cispo'] }],
    ['rl.epsilonHigh', { rl: { epsilonHigh: NaN } }],
    ['rl.promptsPerUpdate', { rl: { promptsPerStep: 4, promptsPerUpdate: 5 } }],
    ['rl.numIterations', { rl: { numIterations: 1.5 } }],
    ['rl.dynamicSampling', { rl: { dynamicSampling: 3 } }],
    ['rl.maskTruncatedCompletions', { rl: { maskTruncatedCompletions: 'yes' } }],
    ['rl.step', { rl: { step: 10 } }],
    ['rl.batchSize', { rl: { batchSize: 4 } }],
    ['vmCpt.r', { vmCpt: { r: 4 } }],
    ['sft.learning_rate', { sft: { learning_rate: 1e-3 } }],
    ['rl', { rl: 5 }],
    ['sft', { sft: [30] }],
    ['vmCpt', { vmCpt: null }],
    ['arms', { arms: 'grpo' }],
    ['rl.softPunishCache', { rl: { maxNewTokens: 8, softPunishCache: 9 } }],
  ])('refuses a wrong %s: %j', (argument, options) => {
    expect(() => resolveConfig(options as RunOverrides)).toThrow(expect.objectContaining({ code: 'invalid-option', argument }));
  });

  it.each([
    ['testsize', { testsize: 4 }],
    ['directSft.step', { directSft: { step: 4 } }],
    ['directSft', { directSft: 4 }],
    ['checkpoint', { checkpoint: { bits: 8 } }],
  ])('a table refuses a wrong %s: %j', (argument, overrides) => {
    expect(() => reproduceSettings('tiny', { benchmark: 'clevr-t', n: 2 }, { overrides: overrides as ReproduceOverrides, algorithms: ['grpo'] })).toThrow(expect.objectContaining({ code: 'invalid-option', argument }));
  });

  it('of all parameters of a checkpoint is refused a KL penalty, which one adapter takes', () => {
    const { rl } = resolveInternaliseConfig();
    expect(() => resolveInternaliseConfig({ tune: 'full', rl: { ...rl, beta: 0.01 } })).toThrow(expect.objectContaining({ code: 'invalid-option', argument: 'rl.beta' }));
    expect(resolveInternaliseConfig({ rl: { ...rl, beta: 0.01 } }).rl.beta).toBe(0.01);
  });
});
