import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReferenceEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { Checkpoints, EARLY_STOPPING_START, JsonLines, type Metrics, readTrainingState, SupervisedTrainer, train, type TrainerState, type TrainOptions, watchMetric } from '../src/index.ts';
import { checkpointFolder, jsonlFile, tensorboardFolder } from '../src/node.ts';
import { readEvents } from './read-events.ts';
import { smallModel, supervisedRows } from './small.ts';

const root = mkdtempSync(join(tmpdir(), 'trimpi-train-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function memory() {
  const files = new Map<string, Uint8Array>();
  return { files, read: async (f: string) => files.get(f) ?? null, write: async (f: string, data: Uint8Array) => void files.set(f, data.slice()) };
}

const hash = (state: ReadonlyMap<string, Float32Array | Float64Array>) => [...state.values()].reduce((h, v) => h.update(v), createHash('sha256')).digest('hex');

function make() {
  const model = smallModel(new ReferenceEngine());
  model.setTrainable('text');
  return { model, trainer: new SupervisedTrainer(model, { rows: supervisedRows(5), batchSize: 2, lossMean: 'token', learningRate: 3e-3, steps: 12, seed: 3 }) };
}

async function go(options: Partial<TrainOptions> = {}) {
  const { model, trainer } = make();
  const seen: number[] = [];
  const end = await train({ model, trainer, steps: 6, saveSteps: 2, ...options, metrics: [(m) => void seen.push(m.step), ...(options.metrics ?? [])] });
  return { end, seen, step: trainer.step, weights: hash(await readTrainingState(model)) };
}

const straight = await go();

describe('checkpoints', () => {
  it('keeps the last two, and goes on from the newest', async () => {
    const files = memory();
    const stop = new AbortController();
    const first = await go({ checkpoints: new Checkpoints(files), signal: stop.signal, metrics: [(m) => void (m.step === 5 && stop.abort())] });
    expect(first).toMatchObject({ end: 'aborted', step: 5 });
    expect([...files.files.keys()].sort()).toEqual(['checkpoint-0.safetensors', 'checkpoint-1.safetensors', 'checkpoints.json']);
    const second = await go({ checkpoints: new Checkpoints(files) });
    expect(second).toEqual({ end: 'complete', seen: [6], step: 6, weights: straight.weights });
  });

  it('falls back to the one before when the newest is damaged, with or without the index', async () => {
    const files = memory();
    await go({ checkpoints: new Checkpoints(files) });
    const newest = (JSON.parse(new TextDecoder().decode(files.files.get('checkpoints.json'))) as { file: string }[])[0]!.file;
    files.files.set(newest, files.files.get(newest)!.slice(0, 500));
    for (const index of [true, false]) {
      if (!index) files.files.delete('checkpoints.json');
      const copy = memory();
      for (const [name, data] of files.files) copy.files.set(name, data);
      const damaged: string[] = [];
      const again = await go({ checkpoints: new Checkpoints(copy, { onDamaged: (file) => void damaged.push(file) }) });
      expect(damaged).toEqual([newest]);
      expect(again).toEqual({ end: 'complete', seen: [5, 6], step: 6, weights: straight.weights });
    }
    for (const [name, data] of files.files) files.files.set(name, data.slice(0, 500));
    await expect(go({ checkpoints: new Checkpoints(files) })).rejects.toMatchObject({ code: 'invalid-checkpoint' });
  });

  it("refuses another model's, and passes over what the caller does not accept", async () => {
    const files = memory();
    const { model, trainer } = make();
    model.setTrainable('vision');
    await new Checkpoints(files).save(model, trainer);
    await expect(go({ checkpoints: new Checkpoints(files) })).rejects.toMatchObject({ code: 'invalid-checkpoint' });
    // The trainer is where it was, too.
    await trainer.next();
    await new Checkpoints(files).save(model, trainer);
    const other = make();
    await expect(new Checkpoints(files).restore(other.model, other.trainer)).rejects.toMatchObject({ code: 'invalid-checkpoint', message: expect.stringContaining('does not fit') });
    expect(other.trainer.step).toBe(0);
    const saved = memory();
    await go({ checkpoints: new Checkpoints(saved), extra: { save: () => 'a', restore: () => undefined } });
    expect((await go({ checkpoints: new Checkpoints(saved), accept: (own) => own === 'b' })).seen).toHaveLength(6);
    expect(() => new Checkpoints(saved, { keep: 0 })).toThrow(/keep/);
  });

  it('keeps as many as are asked for; a kill between file and index costs that step at most', async () => {
    for (const keep of [1, 3]) {
      const files = memory();
      const checkpoints = new Checkpoints(files, { keep });
      let index: Uint8Array | undefined;
      await go({
        checkpoints, saveSteps: 1, steps: 5,
        metrics: [(m) => void (m.step === 5 && (index = files.files.get('checkpoints.json')))],
      });
      expect([...files.files.keys()].sort()).toEqual([...Array.from({ length: keep }, (_, i) => `checkpoint-${i}.safetensors`), 'checkpoints.json']);
      expect(await go({ checkpoints: new Checkpoints(files, { keep }) })).toEqual({ end: 'complete', seen: [6], step: 6, weights: straight.weights });
      // As if the process had died when step 5 was in its file, and not yet in the index.
      const killed = memory();
      await go({ checkpoints: new Checkpoints(killed, { keep }), saveSteps: 1, steps: 5 });
      killed.files.set('checkpoints.json', index!);
      const { seen, weights } = await go({ checkpoints: new Checkpoints(killed, { keep }) });
      expect(seen).toEqual(keep === 1 ? [6] : [5, 6]);
      expect(weights).toBe(straight.weights);
    }
  });

  it.each(['deleted', 'damaged', 'never written'] as const)('an index that was %s is made again from what the files say', async (how) => {
    const files = memory();
    const { model, trainer } = make();
    const index = () => JSON.parse(new TextDecoder().decode(files.files.get('checkpoints.json'))) as unknown;
    // Serials 1, 2, 3 of steps 1, 2, 3 in files 1, 0, 1.
    const before = new Checkpoints(files);
    for (let i = 0; i < 3; i++) {
      await trainer.next();
      await before.save(model, trainer);
    }
    expect(index()).toEqual([{ file: 'checkpoint-1.safetensors', serial: 3 }, { file: 'checkpoint-0.safetensors', serial: 2 }]);
    if (how === 'damaged') files.files.set('checkpoints.json', new TextEncoder().encode('[{"file'));
    else files.files.delete('checkpoints.json');
    if (how === 'never written') files.files.delete('checkpoint-0.safetensors');
    const resumed = make();
    const again = new Checkpoints(files);
    await again.restore(resumed.model, resumed.trainer);
    expect(resumed.trainer.step).toBe(3);
    await resumed.trainer.next();
    await (how === 'deleted' ? new Checkpoints(files) : again).save(resumed.model, resumed.trainer);
    // The older one was replaced, and the newer is still there to fall back on.
    expect(index()).toEqual([{ file: 'checkpoint-0.safetensors', serial: 4 }, { file: 'checkpoint-1.safetensors', serial: 3 }]);
    files.files.set('checkpoint-0.safetensors', files.files.get('checkpoint-0.safetensors')!.slice(0, 500));
    const back = make();
    await new Checkpoints(files).restore(back.model, back.trainer);
    expect(back.trainer.step).toBe(3);
    for (const { model: own } of [resumed, back]) own.dispose();
    model.dispose();
  });

  it('without an index a damaged file is the one to be replaced', async () => {
    const files = memory();
    const { model, trainer } = make();
    for (let i = 0; i < 3; i++) await new Checkpoints(files, { keep: 3 }).save(model, trainer);
    files.files.delete('checkpoints.json');
    files.files.set('checkpoint-1.safetensors', files.files.get('checkpoint-1.safetensors')!.slice(0, 500));
    await new Checkpoints(files, { keep: 3 }).save(model, trainer);
    expect(JSON.parse(new TextDecoder().decode(files.files.get('checkpoints.json')))).toEqual([4, 3, 2].map((serial) => ({ file: `checkpoint-${serial % 3}.safetensors`, serial })));
    model.dispose();
  });

  it('goes on from a checkpoint that was written without train()', async () => {
    const files = memory();
    const { model, trainer } = make();
    for (let i = 0; i < 4; i++) await trainer.next();
    await new Checkpoints(files).save(model, trainer);
    expect(await go({ checkpoints: new Checkpoints(files), earlyStopping: { metric: 'loss', patience: 9, greaterIsBetter: false } })).toEqual({ end: 'complete', seen: [5, 6], step: 6, weights: straight.weights });
    await new Checkpoints(files).save(model, trainer, { mine: 1 });
    const given: unknown[] = [];
    await go({ checkpoints: new Checkpoints(files), extra: { save: () => null, restore: (own) => void given.push(own) } });
    expect(given).toEqual([{ mine: 1 }]);
    await expect(go({ steps: NaN })).rejects.toMatchObject({ code: 'invalid-option', argument: 'steps' });
  });

  it('a full disk leaves the checkpoints that were there', async () => {
    const files = memory();
    let room = 4;
    const full = { ...files, write: async (f: string, d: Uint8Array) => { if (room-- <= 0) throw new Error('ENOSPC'); await files.write(f, d); } };
    await expect(go({ checkpoints: new Checkpoints(full) })).rejects.toThrow('ENOSPC');
    expect(await go({ checkpoints: new Checkpoints(files) })).toMatchObject({ seen: [5, 6], weights: straight.weights });
  });
});

describe('early stopping', () => {
  it('counts like transformers: steps without anything better by more than minDelta', () => {
    const waited = (values: readonly number[], more = {}) => {
      let state = EARLY_STOPPING_START;
      return values.map((value) => (state = watchMetric(state, { value }, { metric: 'value', patience: 2, ...more })).waited);
    };
    expect(waited([1, 2, 2, 1, 3, 3])).toEqual([0, 0, 1, 2, 0, 1]);
    expect(waited([3, 2, 2.5, 1.95], { greaterIsBetter: false, minDelta: 0.1 })).toEqual([0, 0, 1, 2]);
    expect(waited([1, NaN, 0])).toEqual([0, 0, 1]);
    expect(() => watchMetric(EARLY_STOPPING_START, {}, { metric: 'x', patience: 0 })).toThrow(/patience/);
    for (const minDelta of [NaN, -1]) expect(() => watchMetric(EARLY_STOPPING_START, {}, { metric: 'x', patience: 1, minDelta })).toThrow(/earlyStopping.minDelta/);
  });

  it('ends a training, also one that went on from a checkpoint', async () => {
    const earlyStopping = { metric: 'step', patience: 3, greaterIsBetter: false };
    expect(await go({ earlyStopping })).toMatchObject({ end: 'early', step: 4 });
    const files = memory();
    const stop = new AbortController();
    await go({ checkpoints: new Checkpoints(files), earlyStopping, signal: stop.signal, metrics: [(m) => void (m.step === 3 && stop.abort())] });
    expect(await go({ checkpoints: new Checkpoints(files), earlyStopping })).toMatchObject({ end: 'early', step: 4, seen: [4] });
  });
});

it('a metric that there is none of is refused after as many updates as patience, with everything saved; one that came before a resumption is not', async () => {
  const files = memory();
  await expect(go({ checkpoints: new Checkpoints(files), earlyStopping: { metric: 'lost', patience: 3 } })).rejects.toMatchObject({ code: 'invalid-option', argument: 'earlyStopping.metric', message: expect.stringMatching(/lost.*loss, /) });
  expect(await go({ checkpoints: new Checkpoints(files) })).toMatchObject({ end: 'complete', seen: [4, 5, 6], weights: straight.weights });
  const { model, trainer } = make();
  // In the first two steps only, as an RL step without an advantage has no gradient norm.
  const rare = { get step() { return trainer.step; }, finished: false, state: () => trainer.state(), restore: (s: TrainerState) => trainer.restore(s), next: async () => ({ ...(await trainer.next()), ...(trainer.step <= 2 ? { rare: 1 } : {}) }) };
  const resumed = new Checkpoints(memory());
  const options = { model, trainer: rare, checkpoints: resumed, earlyStopping: { metric: 'rare', patience: 2 } };
  await train({ ...options, steps: 2 });
  expect(await train({ ...options, steps: 6 })).toBe('complete');
  expect(trainer.step).toBe(6);
});

describe('metrics', () => {
  it('JSON lines and event files of a resumed training hold each step once', async () => {
    const folder = join(root, 'a');
    const sinks = () => [jsonlFile(join(folder, 'metrics.jsonl')), tensorboardFolder(join(folder, 'tensorboard'))];
    const checkpoints = () => new Checkpoints(checkpointFolder(folder));
    await expect(go({ checkpoints: checkpoints(), metrics: [...sinks(), (m) => { if (m.step === 5) throw new Error('killed'); }] })).rejects.toThrow('killed');
    expect((await go({ checkpoints: checkpoints(), metrics: sinks() })).weights).toBe(straight.weights);
    const lines = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trim().split('\n').map((l) => JSON.parse(l) as Metrics);
    expect(lines.map((l) => l.step)).toEqual([1, 2, 3, 4, 5, 6]);
    for (const name of ['loss', 'grad_norm', 'learning_rate', 'epoch', 'num_tokens', 'entropy', 'time/step', 'time/outside_gpu']) expect(lines[0], name).toHaveProperty([name]);
    const files = readdirSync(join(folder, 'tensorboard')).sort().map((f) => readEvents(readFileSync(join(folder, 'tensorboard', f))));
    expect(files).toHaveLength(2);
    const [before, after] = files as [ReturnType<typeof readEvents>, ReturnType<typeof readEvents>];
    for (const file of files) expect(file[0]).toMatchObject({ fileVersion: 'brain.Event:2' });
    expect(before.slice(1).map((e) => e.step)).toEqual([1, 2, 3, 4, 5]);
    // The second file voids step 5 of the first.
    expect(after[1]).toMatchObject({ step: 5, restart: true });
    expect(after.slice(2).map((e) => e.step)).toEqual([5, 6]);
    for (const [i, event] of [...before.slice(1, 5), ...after.slice(2)].entries()) expect(event.scalars['loss']).toBe(Math.fround(lines[i]!['loss']!));
  });

  it('lines in a storage that only replaces files: written when flushed, cut where a training goes on', async () => {
    const files = memory();
    const lines = new JsonLines(files, 'm.jsonl');
    await lines.begin(0);
    for (const step of [1, 2, 3]) lines.write({ step, loss: 1 / step });
    expect(files.files.size).toBe(0);
    await lines.flush();
    files.files.set('m.jsonl', new TextEncoder().encode(`${new TextDecoder().decode(files.files.get('m.jsonl'))}{"step":4,"lo`));
    const again = new JsonLines(files, 'm.jsonl');
    await again.begin(2);
    again.write({ step: 3, loss: 7 });
    expect(again.rows()).toEqual([{ step: 1, loss: 1 }, { step: 2, loss: 0.5 }, { step: 3, loss: 7 }]);
  });
});
