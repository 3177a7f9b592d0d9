import type { RunReport } from '@trimpi/eval';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { DEMO_CONFIG, memoryStorage, resolveConfig, run, type RunEvent, type RunOptions, type StageName } from '../src/index.ts';
import { randomBase } from './random-base.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
const base = await randomBase(engine);
afterAll(() => device.dispose());

const config = resolveConfig({
  seed: 5, policies: 2, trainPerPolicy: 6, reasonedPerPolicy: 2, testSize: 8, saveSteps: 2,
  vmCpt: { steps: 4, batchSize: 2, learningRate: 1e-3 },
  sft: { steps: 4, batchSize: 2, learningRate: 3e-3, r: 4, loraAlpha: 8 },
  rl: { steps: 4, learningRate: 1e-3, promptsPerStep: 2, rollouts: 4, temperature: 1, maxNewTokens: 8 },
});

it('a stage that is given in part keeps the rest of the demo\'s settings', () => {
  expect(resolveConfig({ sft: { steps: 3 }, rl: { steps: 2 } })).toEqual({ ...DEMO_CONFIG, sft: { ...DEMO_CONFIG.sft, steps: 3 }, rl: { ...DEMO_CONFIG.rl, steps: 2 } });
});

type Storage = ReturnType<typeof memoryStorage>;
const start = (storage: Storage, more: Partial<RunOptions> = {}) => run({ config, engine, adapterName: 'test', base, storage, ...more });
/** Weights and results, without what depends on the clock. */
const outcome = (storage: Storage) => {
  const report = JSON.parse(new TextDecoder().decode(storage.files.get('report.json'))) as Record<string, unknown> & { stages: Record<string, unknown>[]; inContext: Record<string, unknown>; findings: string[] };
  const timeless: typeof report = { ...report, seconds: 0, canonical: 0, inContext: { ...report.inContext, prefillMs: 0 }, stages: report.stages.map((s): Record<string, unknown> => ({ ...s, prefillMs: 0, tokensPerSecond: 0, seconds: 0, ...(s['rl'] === undefined ? {} : { rl: { ...s['rl'], time: 0 } }) })), findings: report.findings.map((f) => f.replace(/prefill (takes|would take).*/, '')) };
  return { timeless, weights: Buffer.from(storage.files.get('model/model.safetensors')!).toString('base64') };
};

const straight = memoryStorage();
const events: RunEvent[] = [];
// Where a base lies on this machine stays out of what is published.
await start(straight, { base: { ...base, name: '/some/where/here' }, onEvent: (e) => events.push(e) });

describe('a run', () => {
  it('goes through all stages and reports each', () => {
    const { timeless } = outcome(straight);
    expect(timeless.stages.map((s) => s['name'])).toEqual(['base', 'vm-cpt', 'cot-sft', 'grpo', 'poro-grpo']);
    for (const key of ['seed', 'adapter', 'chance', 'majority']) expect(timeless).toHaveProperty(key);
    // One of the two policies has a case that no scene reaches.
    expect(timeless['chance']).toBeCloseTo((1 / 3 + 1 / 4) / 2, 12);
    for (const s of timeless.stages) {
      expect(s['n']).toBe(8);
      expect(s['low']).toBeLessThanOrEqual(s['accuracy'] as number);
      expect(s['high']).toBeGreaterThanOrEqual(s['accuracy'] as number);
      expect(s['promptTokens']).toBeLessThan(timeless.inContext['promptTokens'] as number);
    }
    expect(events.filter((e) => e.type === 'step')).toHaveLength(16);
    for (const file of ['report.html', 'model/config.json', 'adapter/adapter_model.safetensors', 'adapter/adapter_config.json', 'completions-poro-grpo.jsonl', 'metrics-vm-cpt.jsonl', 'metrics-grpo.jsonl', 'tensorboard/grpo/events.out.tfevents.0000000000.trimpi']) expect(straight.files.has(file), file).toBe(true);
    expect(JSON.parse(new TextDecoder().decode(straight.files.get('adapter/adapter_config.json')))).toMatchObject({ base_model_name_or_path: 'here + vm-cpt' });
    expect(events.some((e) => e.type === 'step' && !(e.secondsLeft >= 0))).toBe(false);
    const text = (file: string) => new TextDecoder().decode(straight.files.get(file));
    const metrics = text('metrics-poro-grpo.jsonl').trim().split('\n').map((l) => JSON.parse(l) as Record<string, number>);
    expect(metrics.map((m) => m['step'])).toEqual([1, 2, 3, 4]);
    for (const key of ['reward', 'rewards/accuracy/policy', 'frac_groups_with_advantage', 'num_tokens', 'time/generation']) expect(metrics[0], key).toHaveProperty([key]);
    expect(text('report.html')).toContain('Sampled completions');
    // The first group of every step: as many with the policy as without.
    const sampled = text('completions-poro-grpo.jsonl').trim().split('\n').map((l) => JSON.parse(l) as { step: number; origin: string });
    expect(sampled.map((l) => `${l.step} ${l.origin}`)).toEqual([1, 2, 3, 4].flatMap((step) => ['free', 'free', 'policy', 'policy'].map((origin) => `${step} ${origin}`)));
    const report = JSON.parse(text('report.json')) as RunReport;
    // Canonical prose is long: the issue asks for a fall of 80 % or more.
    expect(1 - report.canonical!.withoutPolicy / report.canonical!.withPolicy).toBeGreaterThan(0.8);
    expect(report.shortcuts!.histogram).toBeGreaterThan(0);
    for (const stage of report.stages.slice(1)) expect(stage.pAgainstBefore).toBeLessThanOrEqual(1);
    const arms = report.stages.filter((s) => s.rl !== undefined).map((s) => s.rl!);
    expect(arms.map((rl) => rl.rollouts)).toEqual([32, 32]);
    expect(arms[1]).toHaveProperty('accuracyPolicy');
  });

  it('begun again when it is done, it leaves the trained model, not the base', async () => {
    const storage = memoryStorage();
    for (const [name, bytes] of straight.files) storage.files.set(name, bytes);
    storage.files.delete('model/model.safetensors');
    const said: RunEvent[] = [];
    await start(storage, { onEvent: (e) => said.push(e) });
    expect(said.some((e) => e.type === 'step' || e.type === 'evaluated')).toBe(false);
    expect(outcome(storage).weights).toBe(outcome(straight).weights);
  });

  it('DAPO and PolicyRollout on DAPO are arms too, with as many rollouts', async () => {
    const storage = memoryStorage();
    const report = await start(storage, { config: { ...config, arms: ['dapo', 'poro-dapo'] } });
    expect(report.stages.map((s) => s.name)).toEqual(['base', 'vm-cpt', 'cot-sft', 'dapo', 'poro-dapo']);
    expect(report.stages.slice(3).map((s) => s.rl!.rollouts)).toEqual([32, 32]);
    expect(storage.files.has('completions-poro-dapo.jsonl')).toBe(true);
    expect(() => resolveConfig({ arms: ['ppo' as 'grpo'] })).toThrow(/arms: holds ppo/);
    expect(() => resolveConfig({ arms: ['grpo', 'grpo'] })).toThrow(/twice/);
  });

  it('the same seed gives the same report and weights', async () => {
    const again = memoryStorage();
    await start(again);
    expect(outcome(again)).toEqual(outcome(straight));
  });

  it.each(['vm-cpt', 'cot-sft', 'grpo', 'poro-grpo'] as StageName[])('stopped in %s and resumed, it ends with the same report and weights', async (stage) => {
    const storage = memoryStorage();
    const stop = new AbortController();
    const interrupted = start(storage, { signal: stop.signal, onEvent: (e) => e.type === 'step' && e.stage === stage && e.step === 3 && stop.abort() });
    await expect(interrupted).rejects.toMatchObject({ code: 'interrupted' });
    // What can be watched on the way is there with the checkpoint, not at the end of the stage.
    const events = `tensorboard/${stage}/events.out.tfevents.0000000000.trimpi`;
    const soFar = storage.files.get(events)!.length;
    const resumed: RunEvent[] = [];
    await start(storage, { onEvent: (e) => resumed.push(e) });
    expect(resumed.find((e) => e.type === 'stage' && e.stage === stage)).toMatchObject({ firstStep: 3 });
    expect(storage.files.get(events)!.length).toBeGreaterThan(soFar);
    expect(outcome(storage)).toEqual(outcome(straight));
  });

  it('a stage that diverges says which, and what to do', async () => {
    const settings = resolveConfig({ ...config, sft: { ...config.sft, learningRate: 1e30, maxGradNorm: 0 } });
    await expect(start(memoryStorage(), { config: settings })).rejects.toMatchObject({ name: 'PipelineError', code: 'diverged', argument: expect.stringMatching(/^CoT SFT.*, step \d/), message: expect.stringMatching(/lower learningRate/) });
  });

  it('stopped in the evaluation behind a stage, it does not train that stage again', async () => {
    const storage = memoryStorage();
    const stop = new AbortController();
    const interrupted = start(storage, { signal: stop.signal, onEvent: (e) => e.type === 'step' && e.stage === 'grpo' && e.step === 4 && stop.abort() });
    await expect(interrupted).rejects.toMatchObject({ code: 'interrupted', argument: 'evaluation' });
    const resumed: RunEvent[] = [];
    await start(storage, { onEvent: (e) => resumed.push(e) });
    expect(resumed.some((e) => e.type === 'step' && e.stage === 'grpo')).toBe(false);
    expect(outcome(storage)).toEqual(outcome(straight));
  });

  it('stopped in the very first evaluation, it leaves a run to go on with', async () => {
    const storage = memoryStorage();
    const stop = new AbortController();
    stop.abort();
    await expect(start(storage, { signal: stop.signal })).rejects.toMatchObject({ code: 'interrupted' });
    expect(storage.files.has('run.json')).toBe(true);
    await start(storage);
    expect(outcome(storage)).toEqual(outcome(straight));
  });

  it('killed between two checkpoints, it loses at most the steps since the last one and ends the same', async () => {
    const storage = memoryStorage();
    const killed = start(storage, { onEvent: (e) => { if (e.type === 'step' && e.stage === 'poro-grpo' && e.step === 3) throw new Error('killed'); } });
    await expect(killed).rejects.toThrow('killed');
    await start(storage);
    expect(outcome(storage)).toEqual(outcome(straight));
  });
});

describe('what goes wrong', () => {
  it('a run of a version that kept no outcomes is gone on with, without a paired test', async () => {
    const storage = memoryStorage();
    await expect(start(storage, { onEvent: (e) => { if (e.type === 'step' && e.stage === 'grpo' && e.step === 1) throw new Error('killed'); } })).rejects.toThrow('killed');
    const state = JSON.parse(new TextDecoder().decode(storage.files.get('run.json'))) as { finished: { correct?: boolean[] }[]; from?: unknown };
    for (const f of state.finished) delete f.correct;
    // Nor what base they had.
    delete state.from;
    storage.files.set('run.json', new TextEncoder().encode(JSON.stringify(state)));
    const report = await start(storage);
    expect(report.stages.map((s) => s.accuracy)).toEqual((JSON.parse(new TextDecoder().decode(straight.files.get('report.json'))) as RunReport).stages.map((s) => s.accuracy));
    expect(report.stages.find((s) => s.name === 'grpo')).not.toHaveProperty('pAgainstBefore');
  });

  it('another configuration in the same folder is refused', async () => {
    await expect(start(straight, { config: { ...config, seed: 6 } })).rejects.toMatchObject({ code: 'invalid-option' });
  });

  it('another base of the same shape is refused, and what is there stays', async () => {
    const before = outcome(straight);
    await expect(start(straight, { base: await randomBase(engine, undefined, 3) })).rejects.toMatchObject({ code: 'invalid-option', argument: 'memory', message: expect.stringMatching(/another base/) });
    expect(outcome(straight)).toEqual(before);
  });

  it('a damaged checkpoint is passed over for the one before; when both are damaged they are named, and the finished stages stay usable', async () => {
    const storage = memoryStorage();
    await expect(start(storage, { onEvent: (e) => { if (e.type === 'step' && e.stage === 'grpo' && e.step === 4) throw new Error('killed'); } })).rejects.toThrow('killed');
    const checkpoints = [...storage.files.keys()].filter((f) => /^checkpoint-.*safetensors$/.test(f));
    expect(checkpoints).toHaveLength(2);
    const newest = (JSON.parse(new TextDecoder().decode(storage.files.get('checkpoints.json'))) as { file: string }[])[0]!.file;
    const spoil = (file: string) => storage.files.set(file, storage.files.get(file)!.slice(0, -100));
    spoil(newest);
    const one = memoryStorage();
    for (const [name, data] of storage.files) one.files.set(name, data);
    const resumed: RunEvent[] = [];
    // The one before belongs to the stage before: RL begins again.
    await start(one, { onEvent: (e) => resumed.push(e) });
    expect(resumed.some((e) => e.type === 'note' && e.text.includes(newest))).toBe(true);
    expect(resumed.find((e) => e.type === 'stage' && e.stage === 'grpo')).toMatchObject({ firstStep: 0 });
    expect(outcome(one)).toEqual(outcome(straight));
    for (const file of checkpoints) if (file !== newest) spoil(file);
    await expect(start(storage)).rejects.toMatchObject({ code: 'invalid-checkpoint' });
    for (const file of checkpoints) storage.files.delete(file);
    await start(storage);
    expect(outcome(storage)).toEqual(outcome(straight));
  });

  it('weights of a stage that are damaged are named', async () => {
    const storage = memoryStorage();
    await expect(start(storage, { onEvent: (e) => { if (e.type === 'step' && e.stage === 'grpo' && e.step === 1) throw new Error('killed'); } })).rejects.toThrow('killed');
    storage.files.set('cot-sft.safetensors', storage.files.get('cot-sft.safetensors')!.slice(0, 300));
    await expect(start(storage)).rejects.toMatchObject({ code: 'invalid-checkpoint', argument: 'memory/cot-sft.safetensors' });
  });

  it('a full disk ends the run with a message, and it goes on when there is room', async () => {
    const storage = memoryStorage();
    let room = 8;
    const full = { ...storage, write: async (file: string, data: Uint8Array | string) => { if (room-- <= 0) throw new Error('ENOSPC: no space left on device'); await storage.write(file, data); } };
    await expect(run({ config, engine, adapterName: 'test', base, storage: full })).rejects.toMatchObject({ code: 'storage' });
    await start(storage);
    expect(outcome(storage)).toEqual(outcome(straight));
  });

  it('a lost device is a typed error, and a new device carries on', async () => {
    const storage = memoryStorage();
    const other = await openDevice();
    const lost = run({ config, engine: new WebGpuEngine(other), adapterName: 'test', base, storage, onEvent: (e) => e.type === 'step' && e.stage === 'grpo' && e.step === 3 && other.gpu.destroy() });
    await expect(lost).rejects.toMatchObject({ name: 'RuntimeError' });
    await start(storage);
    expect(outcome(storage)).toEqual(outcome(straight));
  });

  it('wrong options are named', () => {
    expect(() => resolveConfig({ policies: 0 })).toThrow(/policies: is 0/);
    expect(() => resolveConfig({ sead: 1 } as never)).toThrow(/sead/);
    expect(() => resolveConfig({ rl: { ...config.rl, rollouts: 3 } })).toThrow(/even/);
  });
});
