import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { featureLength, generate, layOutPrompts, packBatch, type PixelImage, type TokenSequence, VisionLanguageModel } from '../src/index.ts';
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
