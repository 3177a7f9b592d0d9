import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { estimate, featureLength, generate, layOutPrompts, loraConfig, packBatch, type PixelImage, type TokenSequence, VisionLanguageModel } from '../src/index.ts';
import { goldenModel, goldenPrompt } from './golden-cases.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

describe('a picture with more patches than the rotary table has rows', () => {
  it('is refused wherever the tower would compute it, and taken as features', async () => {
    const golden = await goldenModel(engine);
    const prompt = await goldenPrompt(golden);
    const images = prompt.images as readonly PixelImage[];
    const most = Math.max(...images.flatMap(({ gridThw: [, h, w] }) => [h, w]));
    const first = images.findIndex(({ gridThw: [, h, w] }) => Math.max(h, w) === most);
    const [, h, w] = images[first]!.gridThw;
    const small = new VisionLanguageModel(engine, golden.config, { maxPatchRows: most - 1 });
    small.initialise(1);
    const refused = { code: 'invalid-input', argument: `images[${first}]`, value: images[first]!.gridThw, message: expect.stringMatching(new RegExp(`${h} x ${w} patches.* ${most - 1} rows.*maxPatchRows`)) as string };
    const batch = packBatch(golden.config, [{ sequence: prompt }]);
    const storage = engine.createStorage('features', featureLength(golden.config, images.map((i) => i.gridThw)));
    await expect(small.score(batch)).rejects.toMatchObject(refused);
    await expect(small.inspect(batch, ['logp'])).rejects.toMatchObject(refused);
    await expect(small.encodeImages(images)).rejects.toMatchObject(refused);
    await expect(small.encodeInto(storage, images)).rejects.toMatchObject(refused);
    await expect(generate(small, [prompt], { maxNewTokens: 1, stopIds: [], seed: 1 })).rejects.toMatchObject(refused);
    const features = await golden.encodeImages(images);
    expect((await small.score(packBatch(golden.config, [{ sequence: { ...prompt, images: features } }]))).logp.every(Number.isFinite)).toBe(true);
    const enough = new VisionLanguageModel(engine, golden.config, { maxPatchRows: most });
    enough.initialise(1);
    expect(await enough.encodeImages(images)).toHaveLength(images.length);
    storage.dispose();
    for (const model of [golden, small, enough]) model.dispose();
  });
});

describe('numbers that are none', () => {
  const refused = (argument: string): unknown => expect.objectContaining({ name: 'ModelError', code: 'invalid-input', argument });

  it('are refused in scoring, training and sampling, by name', async () => {
    const model = await goldenModel(engine);
    const sequence: TokenSequence = { inputIds: [5, 9, 77], positionIds: [0, 1, 2, 0, 1, 2, 0, 1, 2], images: [] };
    const batch = packBatch(model.config, [{ sequence }]);
    for (const temperature of [0, -1, NaN, Infinity]) {
      await expect(model.score(batch, { temperature })).rejects.toEqual(refused('temperature'));
      await expect(model.inspect(batch, ['logp'], { temperature })).rejects.toEqual(refused('temperature'));
    }
    for (const predict of [[], [0, 1], [0, 1, 1, 1]]) expect(() => packBatch(model.config, [{ sequence, predict }])).toThrow(refused('rows[0].predict'));
    await expect(model.step({ learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxNorm: 1, step: 1, gradScale: 1 })).rejects.toEqual(refused('step'));
    model.addAdapter('a', loraConfig({ r: 2 }), 1);
    model.setTrainable({ adapter: 'a' });
    for (const dEntropy of [[], [0.1, 0.1, 0.1]]) await expect(model.accumulate(batch, [1, 1], { adapter: 'a', dEntropy })).rejects.toEqual(refused('dEntropy'));
    const options = { maxNewTokens: 2, stopIds: [], seed: 1 };
    for (const seed of [1.5, NaN, 2 ** 60]) await expect(generate(model, [sequence], { ...options, seed })).rejects.toEqual(refused('seed'));
    for (const stream of [0.5, -1, NaN]) await expect(generate(model, [sequence], { ...options, streams: [stream] })).rejects.toEqual(refused('requests[0].stream'));
    for (const id of [-3, 1.5, NaN, null as never]) await expect(generate(model, [sequence], { ...options, stopIds: [1, id] })).rejects.toEqual(refused('stopIds[1]'));
    expect(await generate(model, [sequence], { ...options, seed: -1 })).toHaveLength(1);
    model.dispose();
  });

  it('are refused of a model and of an estimate', async () => {
    const { config } = await goldenModel(engine);
    for (const size of [0, 1.5, NaN, -4]) {
      expect(() => new VisionLanguageModel(engine, config, { maxPositions: size })).toThrow(refused('maxPositions'));
      expect(() => new VisionLanguageModel(engine, config, { maxPatchRows: size })).toThrow(refused('maxPatchRows'));
    }
    const rollouts = { prompts: 1, perPrompt: 2, promptTokens: 8, maxNewTokens: 4 };
    await expect(estimate(config, { tokens: 8, image: [0, 4] })).rejects.toEqual(refused('image[0]'));
    await expect(estimate(config, { tokens: 8, rollouts: { ...rollouts, perPrompt: -2 } })).rejects.toEqual(refused('rollouts.perPrompt'));
    await expect(estimate(config, { tokens: 8, rollouts: { ...rollouts, prompts: 0 } })).rejects.toEqual(refused('rollouts.prompts'));
    await expect(estimate(config, { tokens: 8, rollouts: { ...rollouts, sharedTokens: 9 } })).rejects.toEqual(refused('rollouts.sharedTokens'));
  });
});

describe('tokens and positions', () => {
  const text = (inputIds: readonly number[], positionIds: readonly number[] = [0, 1, 2].flatMap(() => inputIds.map((_, i) => i))): TokenSequence => ({ inputIds, positionIds, images: [] });

  it('are refused where they are none, by name', async () => {
    const model = await goldenModel(engine);
    const { config } = model;
    const pack = (sequence: TokenSequence, completions?: readonly (readonly number[])[]) => () => packBatch(config, [{ sequence: text([5]) }, { sequence, ...(completions === undefined ? {} : { completions }) }]);
    for (const id of [-1, config.vocabSize, 1.5, NaN]) {
      const at = (argument: string): unknown => expect.objectContaining({ code: 'invalid-input', argument, value: id });
      expect(pack(text([5, 9, id]))).toThrow(at('rows[1].sequence.inputIds[2]'));
      expect(pack(text([5, 9]), [[7], [7, id]])).toThrow(at('rows[1].completions[1][1]'));
      // The last token of a prompt is the first that decoding takes in.
      expect(() => layOutPrompts(config, [text([5]), text([5, id])])).toThrow(at('prompts[1].inputIds[1]'));
    }
    for (const [positions, value] of [[[0, 1], 2], [[0, 1, 0, 1, 0, 1, 0], 7], [[0, 1, 0, 1, 0, NaN], NaN], [[0, 1, 0, 1, -1, 1], -1], [[0, 1, 0.5, 1, 0, 1], 0.5]] as const) {
      const at = (argument: string): unknown => expect.objectContaining({ code: 'invalid-input', argument, value });
      expect(pack(text([5, 9], positions))).toThrow(at('rows[1].sequence.positionIds'));
      expect(() => layOutPrompts(config, [text([5, 9], positions)])).toThrow(at('prompts[0].positionIds'));
    }
    expect(pack(text([0, config.vocabSize - 1]), [[0, config.vocabSize - 1]])).not.toThrow();
    model.dispose();
  });

  it('beyond the positions of the model are refused, also before the last token of a prompt', async () => {
    const golden = await goldenModel(engine);
    const model = new VisionLanguageModel(engine, golden.config, { maxPositions: 16 });
    model.initialise(1);
    const prompt = text([5, 9, 77], [0, 16, 1, 0, 16, 1, 0, 16, 1]);
    const refused = { code: 'invalid-input', argument: 'batch.positions', value: 16 };
    await expect(model.score(packBatch(golden.config, [{ sequence: prompt }]))).rejects.toMatchObject(refused);
    await expect(model.inspect(packBatch(golden.config, [{ sequence: prompt }]), ['logp'])).rejects.toMatchObject(refused);
    await expect(generate(model, [prompt], { maxNewTokens: 2, stopIds: [], seed: 1 })).rejects.toMatchObject(refused);
    for (const m of [golden, model]) m.dispose();
  });
});
