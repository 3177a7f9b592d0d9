import { packBatch, Processor, VisionLanguageModel, openCheckpoint } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import type { RgbImage } from '@trimpi/datasets';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { fits, Pictures } from '../src/internalise/pictures.ts';

const base = folderFiles(fileURLToPath(new URL('../../model/test/fixtures/qwen25vl/model', import.meta.url)));
const device = await openDevice();
const engine = new WebGpuEngine(device);
const processor = await Processor.load(base);
const model = new VisionLanguageModel(engine, processor.config);
await model.load(await openCheckpoint(base));
afterAll(() => device.dispose());

/** 56 x 56: 16 patches of 1,176 numbers, 4 cells of 64. */
function picture(value: number, drawn: number[]): RgbImage {
  return {
    width: 56, height: 56,
    get rgb() {
      drawn.push(value);
      return Uint8Array.from({ length: 56 * 56 * 3 }, (_, i) => (i * value) % 251);
    },
  };
}
const PATCHES = 16 * 1176 * 4;
const FEATURES = 4 * 64 * 4;

describe('pictures', () => {
  it('count what would be kept: features of a frozen tower, patches of one that is trained', () => {
    const three = [1, 2, 3].map((v) => picture(v, []));
    expect([fits(processor, three, false, 3 * FEATURES), fits(processor, three, false, 3 * FEATURES - 1)]).toEqual([true, false]);
    expect([fits(processor, three, true, 3 * PATCHES), fits(processor, three, true, 3 * PATCHES - 1)]).toEqual([true, false]);
  });

  it('that fit are drawn once, and kept as features', async () => {
    const drawn: number[] = [];
    const all = [1, 2, 3].map((v) => picture(v, drawn));
    const progress: number[] = [];
    const pictures = await Pictures.make(model, processor, all, { trainsVision: false, onProgress: (done) => progress.push(done) });
    for (const p of [...all, ...all]) expect(pictures.image(p)).toHaveProperty('features');
    expect(drawn).toEqual([1, 2, 3]);
    expect(progress.at(-1)).toBe(3);
  });

  it('that do not fit are made when a batch asks; those asked for last are kept, and the model says the same of them', async () => {
    const drawn: number[] = [];
    const all = [1, 2, 3].map((v) => picture(v, drawn));
    const few = await Pictures.make(model, processor, all, { trainsVision: true, maxBytes: 2 * PATCHES });
    expect(drawn).toEqual([]);
    const patches = (i: number) => (few.image(all[i]!) as { readonly pixelValues: Float32Array }).pixelValues;
    for (const i of [0, 1, 0, 2, 0, 1]) expect(patches(i)).toHaveLength(16 * 1176);
    // 1 and 2 are drawn; 1 again is kept; 3 puts 2 out; 1 is still there; 2 is drawn again.
    expect(drawn).toEqual([1, 2, 3, 2]);

    const kept = await Pictures.make(model, processor, all, { trainsVision: false });
    const score = async (pictures: Pictures, p: RgbImage) => {
      const { inputIds, positionIds } = processor.encode({ messages: [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'What is this?' }] }], imageGridThw: [processor.gridOf(p)], addGenerationPrompt: true });
      return (await model.score(packBatch(model.config, [{ sequence: { inputIds, positionIds, images: [pictures.image(p)] } }]))).logp;
    };
    for (const p of all) {
      const [a, b] = [await score(few, p), await score(kept, p)];
      expect(a.length).toBeGreaterThan(8);
      a.forEach((x, i) => expect(x).toBeCloseTo(b[i]!, 4));
    }
    // They are pictures of which the model says different things.
    expect([...(await score(few, all[0]!))]).not.toEqual([...(await score(few, all[1]!))]);
  });
});
