import { Graph, openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { dequantiseNbits4, estimate, generate, loraConfig, memoryFiles, openCheckpoint, packBatch, parseConfig, quantiseNbits4, requireFit, serializeSafetensors, VisionLanguageModel } from '../src/index.ts';
import { fromFloat32, toFloat32 } from '../src/safetensors/dtype.ts';
import { floatTensor } from '../src/safetensors/writer.ts';
import { quantiseRows } from '../src/quant/rows.ts';
import { dequantiseNf4, quantiseNf4 } from '../src/quant/nf4.ts';
import { languageHead } from '../src/vl/towers.ts';
import { goldenCase, readBytes, readJson } from './golden-cases.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const config = parseConfig(readJson('model/config.json'));
const checkpoint = () => openCheckpoint(memoryFiles({ 'model.safetensors': readBytes('model/model.safetensors') }));

function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let most = got.length === want.length ? 0 : Infinity;
  for (let i = 0; i < want.length; i++) most = Math.max(most, Math.abs(got[i]! - want[i]!));
  return Number.isNaN(most) ? Infinity : most;
}

/** What 8-bit blocks of 32 stand for, from the formula. */
function rounded8(values: Float32Array, columns: number): Float32Array {
  const { scales, data } = quantiseRows(values, values.length / columns, columns, { bits: 8, blockSize: 32, format: 'nbits' });
  const blocks = Math.ceil(columns / 32);
  const bytes = new Uint8Array(data.buffer);
  return Float32Array.from(values, (_, i) => {
    const [row, c] = [Math.floor(i / columns), i % columns];
    return (bytes[row * blocks * 32 + c]! - 128) * scales![row * blocks + Math.floor(c / 32)]!;
  });
}

const ROUNDED = {
  nbits4: (v: Float32Array, columns: number) => dequantiseNbits4(quantiseNbits4(v, v.length / columns, columns, { blockSize: 32, symmetric: true })),
  nf4: (v: Float32Array, columns: number) => {
    // Rows are padded to whole blocks.
    const width = Math.ceil(columns / 32) * 32;
    const padded = new Float32Array((v.length / columns) * width);
    for (let r = 0; r < v.length / columns; r++) padded.set(v.subarray(r * columns, (r + 1) * columns), r * width);
    const back = dequantiseNf4(quantiseNf4(padded, 32));
    return Float32Array.from(v, (_, i) => back[Math.floor(i / columns) * width + (i % columns)]!);
  },
  nbits8: rounded8,
  f16: (v: Float32Array) => toFloat32(fromFloat32(v, 'F16'), 'F16'),
};

/** The golden model with its matrices rounded as quantisation rounds them, in f32. */
async function roundedModel(round: keyof typeof ROUNDED): Promise<VisionLanguageModel> {
  const source = await checkpoint();
  const tensors = new Map();
  for (const name of source.names) {
    const { shape } = source.info(name);
    const values = await source.readFloat32(name);
    const matrix = shape.length === 2 && name.endsWith('.weight');
    tensors.set(name, floatTensor(!matrix ? values : name.includes('embed_tokens') && round !== 'f16' ? rounded8(values, shape[1]!) : ROUNDED[round](values, shape[1]!), shape));
  }
  const model = new VisionLanguageModel(engine, config);
  await model.load(await openCheckpoint(memoryFiles({ 'model.safetensors': serializeSafetensors(tensors) })));
  return model;
}

describe.each([['nbits4', { bits: 4 }], ['nf4', { bits: 4, format: 'nf4' }], ['nbits8', { bits: 8 }], ['f16', { bits: 16 }]] as const)('a model in %s', (round, quantise) => {
  it('computes what the rounded weights compute: log-probabilities with images, LoRA gradients', async () => {
    const { batch } = await goldenCase('case_single');
    const [small, whole] = [new VisionLanguageModel(engine, config, { quantise }), await roundedModel(round)];
    await small.load(await checkpoint());
    expect(largest((await small.score(batch)).logp, (await whole.score(batch)).logp)).toBeLessThan(2e-4);
    const gradients: ArrayLike<number>[] = [];
    for (const model of [small, whole]) {
      const adapter = model.addAdapter('a', loraConfig({ r: 4 }), 2);
      for (const name of adapter.store.names.filter((n) => n.endsWith('.b'))) adapter.store.write(name, Float32Array.from({ length: adapter.store.shape(name).reduce((a, b) => a * b, 1) }, (_, i) => 0.05 * Math.sin(i)));
      model.setTrainable({ adapter: 'a' });
      await model.accumulate(batch, new Float32Array(batch.targets.length).fill(-0.05), { adapter: 'a' });
      gradients.push(await adapter.store.storage('gradients').read());
    }
    Array.from(gradients[1]!).forEach((g, i) => expect(Math.abs(gradients[0]![i]! - g), `gradient ${i}`).toBeLessThan(1e-3 * (1 + Math.abs(g))));
    for (const model of [small, whole]) model.dispose();
  });
});

describe('a quantised model', () => {
  it('refuses an adapter on a head that no binding holds whole, which would be passed over', () => {
    const g = new Graph();
    const head = { format: 'nbits', bits: 8, blockSize: 32, rows: 151936, columns: 2048, data: g.input('data', [151936, 512], 'u32'), scales: g.input('scales', [151936, 64]) } as const;
    const tensor = (name: string) => g.input(name, [2048]);
    const factors = (name: string) => (name === 'lm_head' ? { a: g.input('a', [1, 2048]), b: g.input('b', [151936, 1]), rank: 1, ends: [151936], scales: [1] } : undefined);
    expect(() => languageHead(config, { tensor, weight: () => head, factors }, g.input('x', [1, 2048]))).toThrowError(expect.objectContaining({ code: 'unsupported' }));
  });

  it.each([['nbits4', { bits: 4 }], ['nbits8', { bits: 8 }]] as const)('in %s wears DoRA with dropout as the rounded weights do; fresh, it changes nothing', async (round, quantise) => {
    const { batch } = await goldenCase('case_text_only');
    const [small, whole] = [new VisionLanguageModel(engine, config, { quantise }), await roundedModel(round)];
    await small.load(await checkpoint());
    const results: { logp: ArrayLike<number>; gradients: ArrayLike<number> }[] = [];
    for (const model of [small, whole]) {
      const adapter = model.addAdapter('a', loraConfig({ r: 3, useDora: true, loraDropout: 0.25, targetModules: ['q_proj', 'v_proj', 'down_proj', 'lm_head', 'attn.qkv'] }), 2);
      expect(largest((await model.score(batch, { adapter: 'a' })).logp, (await model.score(batch)).logp)).toBeLessThan(1e-4);
      for (const name of adapter.store.names.filter((n) => n.endsWith('.b'))) adapter.store.write(name, Float32Array.from({ length: adapter.store.shape(name).reduce((a, b) => a * b, 1) }, (_, i) => 0.05 * Math.sin(i)));
      model.setTrainable({ adapter: 'a' });
      const { logp } = await model.accumulate(batch, new Float32Array(batch.targets.length).fill(-0.05), { adapter: 'a', dropoutKey: [1, 2] });
      results.push({ logp, gradients: await adapter.store.storage('gradients').read() });
    }
    const [got, want] = results as [typeof results[0], typeof results[0]];
    expect(largest(got.logp, want.logp)).toBeLessThan(2e-4);
    expect(Array.from(want.gradients).filter((g) => Math.abs(g) > 1e-3).length).toBeGreaterThan(100);
    Array.from(want.gradients).forEach((g, i) => expect(Math.abs(got.gradients[i]! - g), `gradient ${i}`).toBeLessThan(1e-3 * (1 + Math.abs(g))));
    for (const model of [small, whole]) model.dispose();
  });

  it('generates with the log-probabilities of the training pass, few rows and many', async () => {
    const model = new VisionLanguageModel(engine, config, { quantise: { bits: 4 } });
    await model.load(await checkpoint());
    const prompt = { inputIds: [5, 9, 77, 300], positionIds: [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3], images: [] };
    for (const count of [1, 12]) {
      const completions = await generate(model, [prompt], { maxNewTokens: 5, stopIds: [], seed: 1, promptOf: Array.from({ length: count }, () => 0) });
      const { logp } = await model.score(packBatch(config, [{ sequence: prompt, completions: completions.map((c) => c.tokens) }]));
      expect(largest(Float32Array.from(completions.flatMap((c) => [...c.logps])), logp)).toBeLessThan(1e-4);
    }
    await expect(model.tensors()).rejects.toMatchObject({ code: 'unsupported' });
    expect(() => model.setTrainable('text')).toThrow(/quantised/);
    model.dispose();
  });
});

describe('copyFrom', () => {
  it('rounds the weights of a whole model as a load does, and refuses a quantised one or another architecture', async () => {
    const { batch } = await goldenCase('case_single');
    const [whole, loaded, copied] = [new VisionLanguageModel(engine, config), new VisionLanguageModel(engine, config, { quantise: { bits: 4 } }), new VisionLanguageModel(engine, config, { quantise: { bits: 4 } })];
    for (const model of [whole, loaded]) await model.load(await checkpoint());
    await copied.copyFrom(whole);
    expect(largest((await copied.score(batch)).logp, (await loaded.score(batch)).logp)).toBe(0);
    await expect(whole.copyFrom(loaded)).rejects.toMatchObject({ code: 'unsupported' });
    const other = new VisionLanguageModel(engine, { ...config, intermediateSize: config.intermediateSize * 2 });
    await expect(other.copyFrom(whole)).rejects.toMatchObject({ code: 'invalid-input', argument: 'copyFrom' });
    for (const model of [whole, loaded, copied, other]) model.dispose();
  });

  it("takes an adapter's factors, magnitudes of DoRA too, and refuses one of another scale", async () => {
    const { batch } = await goldenCase('case_text_only');
    const models = [new VisionLanguageModel(engine, config), new VisionLanguageModel(engine, config)] as const;
    for (const [i, model] of models.entries()) {
      await model.load(await checkpoint());
      for (const [name, useDora] of [['plain', false], ['dora', true]] as const) {
        const adapter = model.addAdapter(name, loraConfig({ r: 3, useDora }), i + 1);
        for (const b of adapter.store.names.filter((n) => n.endsWith('.b'))) adapter.store.write(b, Float32Array.from({ length: adapter.store.shape(b).reduce((x, y) => x * y, 1) }, (_, k) => 0.05 * Math.sin(k + i)));
      }
      model.addAdapter('scaled', loraConfig({ r: 3, loraAlpha: 8 * (i + 1) }), 1);
    }
    const [from, to] = models;
    for (const name of ['plain', 'dora']) {
      const want = (await from.score(batch, { adapter: name })).logp;
      expect(largest((await to.score(batch, { adapter: name })).logp, want)).toBeGreaterThan(1e-3);
      await to.copyFrom(from, { adapter: name });
      expect(largest((await to.score(batch, { adapter: name })).logp, want)).toBe(0);
    }
    await expect(to.copyFrom(from, { adapter: 'scaled' })).rejects.toMatchObject({ code: 'invalid-adapter', message: expect.stringMatching(/scales/) });
    for (const model of models) model.dispose();
  });
});

describe('checkpointing and the head in chunks', () => {
  it('change nothing but the memory', async () => {
    const { batch } = await goldenCase('case_batch_right_pad');
    const results = [];
    for (const options of [{}, { checkpointing: true }, { headElements: 4096 }]) {
      const model = new VisionLanguageModel(engine, config, options);
      await model.load(await checkpoint());
      model.setTrainable('text');
      const { logp } = await model.accumulate(batch, new Float32Array(batch.targets.length).fill(-0.02));
      results.push({ logp, gradients: await model.text.storage('gradients').read() });
      model.dispose();
    }
    const [plain, checkpointed, chunked] = results as [typeof results[0], typeof results[0], typeof results[0]];
    expect(largest(checkpointed.logp, plain.logp)).toBe(0);
    expect(largest(checkpointed.gradients, plain.gradients)).toBeLessThan(1e-6);
    expect(largest(chunked.logp, plain.logp)).toBeLessThan(1e-4);
    Array.from(plain.gradients).forEach((g, i) => expect(Math.abs(chunked.gradients[i]! - g)).toBeLessThan(1e-4 * (1 + Math.abs(g))));
  });
});

/** Sizes of Qwen2.5-VL-3B, as published. */
const THREE_B = parseConfig({
  model_type: 'qwen2_5_vl', hidden_size: 2048, intermediate_size: 11008, num_hidden_layers: 36, num_attention_heads: 16, num_key_value_heads: 2, vocab_size: 151936,
  rms_norm_eps: 1e-6, rope_theta: 1000000, rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] }, max_position_embeddings: 128000, tie_word_embeddings: true,
  vision_config: { depth: 32, hidden_size: 1280, intermediate_size: 3420, num_heads: 16, patch_size: 14, out_hidden_size: 2048, window_size: 112, fullatt_block_indexes: [7, 15, 23, 31], tokens_per_second: 2 },
});
const GIB = 2 ** 30;

describe('estimate', () => {
  it('is what the device holds', async () => {
    const found = await estimate(config, { tokens: 96, targets: 32, lora: { r: 4 } });
    const before = engine.counters.bytes;
    const model = new VisionLanguageModel(engine, config);
    expect(engine.counters.bytes - before).toBe(found.weights);
    model.addAdapter('planned', loraConfig({ r: 4 }), 1);
    model.setTrainable({ adapter: 'planned' });
    expect(engine.counters.bytes - before).toBe(found.weights + found.adapter);
    const row = { sequence: { inputIds: Array.from({ length: 96 }, (_, i) => i + 1), positionIds: [0, 1, 2].flatMap(() => Array.from({ length: 96 }, (_, i) => i)), images: [] }, predict: Array.from({ length: 96 }, (_, i) => (i >= 64 ? 1 : 0)) };
    const batch = packBatch(config, [row]);
    await model.accumulate(batch, new Float32Array(32).fill(-1), { adapter: 'planned' });
    const held = engine.counters.bytes - before - found.weights - found.adapter;
    expect(Math.abs(held - found.training) / found.training).toBeLessThan(0.05);
    model.dispose();
    // Plans are given back once nothing waits for them.
    await new Promise((r) => setTimeout(r, 20));
    expect(engine.counters.bytes).toBe(before);
  });

  it('puts the 3B in 4 bits with LoRA rank 8 and 1,024 tokens below 4 GiB', async () => {
    const found = await estimate(THREE_B, { tokens: 1024, targets: 256, quantisation: { bits: 4 }, lora: { r: 8 }, image: [24, 32], rollouts: { prompts: 1, perPrompt: 8, promptTokens: 512, maxNewTokens: 64 }, limits: { maxBufferSize: 512 * 2 ** 20 } });
    expect(found.problems).toEqual([]);
    expect(found.checkpointing).toBe(true);
    expect(found.total).toBeLessThan(4 * GIB);
    // 2.775 billion linear weights of the text tower and 0.67 of the vision tower in 4.x bits, the table in 8.x.
    expect(found.weights).toBeGreaterThan(2.0 * GIB);
    expect(found.adapter).toBeGreaterThan(4 * 4 * 14.9e6);
    requireFit(found);
  });

  it('refuses before anything is loaded, and says why', async () => {
    const found = await estimate(THREE_B, { tokens: 1024 });
    expect(found.problems.join()).toMatch(/GiB/);
    expect(() => requireFit(found)).toThrow(/does not|GiB|bytes/);
    await expect(estimate(config, { tokens: 0 })).rejects.toMatchObject({ code: 'invalid-input' });
  });
});
