import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { generate, getRopeIndex, loraConfig, packBatch, type TokenSequence, type VisionLanguageModel } from '../src/index.ts';
import { goldenModel, openGolden } from './golden-cases.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

/** The prompt of the golden generation: the beginning of the case `single`, with its images. */
async function goldenPrompt(model: VisionLanguageModel): Promise<TokenSequence> {
  const ids = Array.from(await (await openGolden('generate_single')).readFloat32('in.prompt_ids'));
  const single = await openGolden('case_single');
  const pixels = Float32Array.from(await single.readFloat32('in.pixel_values'));
  const grid = await single.readFloat32('in.image_grid_thw');
  const grids = [[grid[0]!, grid[1]!, grid[2]!], [grid[3]!, grid[4]!, grid[5]!]] as const;
  const first = grids[0][0] * grids[0][1] * grids[0][2] * 1176;
  const images = [{ gridThw: grids[0], pixelValues: pixels.subarray(0, first) }, { gridThw: grids[1], pixelValues: pixels.subarray(first) }];
  return { inputIds: ids, positionIds: getRopeIndex(ids, grids, model.config).positionIds, images };
}

describe('generation', () => {
  it('greedy: the tokens of transformers, and their log-probabilities', async () => {
    const golden = await openGolden('generate_single');
    const model = await goldenModel(engine);
    const prompt = await goldenPrompt(model);
    const want = Array.from(await golden.readFloat32('out.sequences')).slice(prompt.inputIds.length);
    const logits = await golden.readFloat32('out.step_logits');
    const [got] = await generate(model, [prompt], { temperature: 0, maxNewTokens: want.length, stopIds: [], seed: 1 });
    expect(Array.from(got!.tokens)).toEqual(want);
    want.forEach((id, step) => {
      const row = logits.subarray(step * 528, (step + 1) * 528);
      const most = Math.max(...row);
      const lse = most + Math.log(row.reduce((s, z) => s + Math.exp(z - most), 0));
      expect(Math.abs(got!.logps[step]! - (row[id]! - lse))).toBeLessThan(1e-3);
    });
    model.dispose();
  });

  it('sampled completions of packed prompts with and without images score the same in the training pass, with an adapter on', async () => {
    const model = await goldenModel(engine);
    const adapter = model.addAdapter('worn', loraConfig({ r: 4, loraAlpha: 16 }), 3);
    for (const name of adapter.store.names.filter((n) => n.endsWith('.b'))) {
      adapter.store.write(name, Float32Array.from({ length: adapter.store.shape(name).reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i) * 0.1));
    }
    const image = await goldenPrompt(model);
    const text: TokenSequence = { inputIds: [5, 9, 77, 300], positionIds: [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3], images: [] };
    const prompts = [image, text];
    const promptOf = [0, 0, 0, 1, 1, 0, 1];
    const stopIds = [17, 42, 99, 100, 101, 102, 103, 104, 105];
    const options = { adapter: 'worn', temperature: 0.9, maxNewTokens: 14, stopIds, seed: 99, promptOf };
    const completions = await generate(model, prompts, options);
    // The same seed and streams give the same tokens, whatever else is in the batch.
    const alone = await generate(model, [text], { ...options, promptOf: [0, 0], streams: [3, 6] });
    expect(alone.map((c) => Array.from(c.tokens))).toEqual([completions[3]!, completions[6]!].map((c) => Array.from(c.tokens)));
    expect(new Set(completions.map((c) => c.tokens.join())).size).toBeGreaterThan(4);
    for (const c of completions) {
      const stop = Array.from(c.tokens).findIndex((t) => stopIds.includes(t));
      expect(c.finish).toBe(stop >= 0 ? 'stop' : 'length');
      expect(c.tokens.length).toBe(stop >= 0 ? stop + 1 : 14);
    }
    const batch = packBatch(model.config, prompts.map((sequence, p) => ({ sequence, completions: completions.filter((c) => c.prompt === p).map((c) => c.tokens) })));
    const scores = await model.score(batch, { adapter: 'worn', temperature: 0.9 });
    let worst = 0;
    batch.places.forEach(({ row, completion, index }, i) => {
      const c = completions.filter((x) => x.prompt === row)[completion]!;
      worst = Math.max(worst, Math.abs(scores.logp[i]! - c.logps[index]!), Math.abs(scores.entropy[i]! - c.entropies[index]!));
    });
    expect(worst).toBeLessThan(1e-4);
    model.dispose();
  });

  it('a completion scored behind a shared prompt is the one scored in a row of its own', async () => {
    const model = await goldenModel(engine);
    const prompt = await goldenPrompt(model);
    // 510 is the image token: in a completion it is a token like any other.
    const completions = [[5, 6, 7], [300, 510, 2], [17]];
    const shared = await model.score(packBatch(model.config, [{ sequence: prompt, completions }]));
    let at = 0;
    for (const completion of completions) {
      const own = await model.score(packBatch(model.config, [{ sequence: prompt, completions: [completion] }]));
      own.logp.forEach((l) => expect(Math.abs(l - shared.logp[at++]!)).toBeLessThan(1e-4));
      if (completion.includes(510)) continue;
      const ids = [...Array.from(prompt.inputIds), ...completion];
      const n = prompt.inputIds.length;
      const row: TokenSequence = { inputIds: ids, positionIds: getRopeIndex(ids, prompt.images.map((i) => i.gridThw), model.config).positionIds, images: prompt.images };
      const plain = await model.score(packBatch(model.config, [{ sequence: row, predict: ids.map((_, i) => (i >= n ? 1 : 0)) }]));
      plain.logp.forEach((l, i) => expect(Math.abs(l - own.logp[i]!)).toBeLessThan(1e-4));
    }
    expect(at).toBe(shared.logp.length);
    model.dispose();
  });

  it('refuses what cannot be sampled', async () => {
    const model = await goldenModel(engine);
    const prompt = await goldenPrompt(model);
    const options = { maxNewTokens: 4, stopIds: [], seed: 1 };
    await expect(generate(model, [], options)).rejects.toThrow(/prompts/);
    await expect(generate(model, [prompt], { ...options, promptOf: [1] })).rejects.toThrow(/promptOf/);
    await expect(generate(model, [prompt], { ...options, topP: 0 })).rejects.toThrow(/topP/);
    await expect(generate(model, [prompt], { ...options, adapter: 'none' })).rejects.toThrow(/adapter/);
    await expect(generate(model, [{ ...prompt, images: [] }], options)).rejects.toThrow(/image tokens/);
    model.dispose();
  });
});
