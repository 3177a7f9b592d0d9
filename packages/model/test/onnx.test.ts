/** @file ONNX files in onnxruntime-web (WebAssembly) against our own forward. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import * as ort from 'onnxruntime-web';
import { afterAll, describe, expect, it } from 'vitest';
import { floatTensor, fromFloat32, getRopeIndex, loraConfig, memoryFiles, openCheckpoint, packBatch, serializeSafetensors, type TensorData, toFloat32, VisionLanguageModel } from '../src/index.ts';
import { exportOnnx, generateOnnx, OnnxDecoder, OnnxVisionEncoder, readOnnxFile } from '../src/onnx.ts';
import { patchLength, textParameters, visionParameters } from '../src/vl/parameters.ts';
import { fixture, openGolden } from './golden-cases.ts';
import { compare, exported, fourBits, GRIDS, largest, modelWith, sessions, someImages } from './onnx-compare.ts';
import { loadedModel, type Name, openModel } from './onnx-models.ts';

ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';
const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

function expectEqual(result: Awaited<ReturnType<typeof compare>>): void {
  if (process.env['ONNX_FIGURES'] !== undefined) console.log(expect.getState().currentTestName, JSON.stringify({ features: result.features, prefill: result.prefill, decode: result.decode }));
  expect(result.features).toBeLessThan(1e-4);
  expect(result.prefill).toBeLessThan(1e-4);
  expect(result.decode).toBeLessThan(1e-4);
  expect(result.tokens).toEqual(result.want);
}

describe('in onnxruntime-web', () => {
  it.each<[Name, 'standard' | 'fused']>([['golden', 'standard'], ['golden', 'fused'], ['tiny-base', 'standard'], ['tiny-base', 'fused'], ['qwen25_untied', 'standard'], ['qwen2_vl', 'standard'], ['qwen2_vl', 'fused'], ['qwen3_vl', 'standard']])('%s, %s operators: features, logits, cache and greedy tokens are those of our forward', async (name, ops) => {
    const model = await loadedModel(engine, name);
    expectEqual(await compare(model, await sessions(ort, (await openModel(name)).checkpoint, model, { ops })));
    model.dispose();
  });
});

it('DeepStack levels whose mergers are out of order: features and logits are those of our forward', async () => {
  const { config, checkpoint } = await openModel('qwen3_vl');
  const model = new VisionLanguageModel(engine, { ...config, vision: { ...config.vision, deepstackVisualIndexes: [2, 0] } });
  await model.load(checkpoint);
  expectEqual(await compare(model, await sessions(ort, checkpoint, model, {})));
  model.dispose();
});

describe('precisions and sources', () => {
  it('float16: the logits of our forward with weights rounded to float16', async () => {
    const base = await loadedModel(engine, 'golden');
    const weights = await base.tensors();
    const rounded = new Map([...weights].map(([name, { shape, data }]) => [name, shape.length === 1 ? { dtype: 'F32' as const, shape, data } : floatTensor(toFloat32(fromFloat32(toFloat32(data, 'F32'), 'F16'), 'F16'), shape)]));
    const model = await modelWith(engine, base.config, rounded);
    const files = await exportOnnx(weights, base.config, { bits: 16 });
    const full = await exportOnnx(weights, base.config);
    files.forEach(({ size }, i) => expect(size).toBeLessThan(0.75 * full[i]!.size));
    expectEqual(await compare(model, await sessions(ort, weights, model, { bits: 16 })));
    base.dispose();
    model.dispose();
  });

  it.each(['standard', 'fused'] as const)('4 bits, %s operators: the logits of our forward with dequantised weights', async (ops) => {
    // Not tied, so that head and embedding can be rounded in their own ways.
    const base = await loadedModel(engine, 'qwen25_untied');
    const weights = await base.tensors();
    const model = await modelWith(engine, base.config, fourBits(weights));
    expectEqual(await compare(model, await sessions(ort, weights, model, { bits: 4, ops })));
    base.dispose();
    model.dispose();
  });

  it('an adapter merged into the weights', async () => {
    const model = await loadedModel(engine, 'golden');
    const adapter = model.addAdapter('a', loraConfig({ r: 4, loraAlpha: 16, targetModules: ['q_proj', 'v_proj', 'down_proj', 'attn.qkv'] }), 3);
    const factors = await adapter.read();
    let i = 0;
    for (const { loraB } of factors.values()) loraB.forEach((_, j) => (loraB[j] = 0.05 * Math.sin(++i)));
    adapter.write(factors);
    const [before] = (await model.encodeImages(someImages(patchLength(model.config), GRIDS)));
    const [after] = (await model.encodeImages(someImages(patchLength(model.config), GRIDS), { adapter: 'a' }));
    expect(largest(after!.features, before!.features)).toBeGreaterThan(1e-2);
    expectEqual(await compare(model, await sessions(ort, await model.tensors({ merge: 'a' }), model, {}), 'a'));
    model.dispose();
  });

  it('large tensors in a second file: the same numbers', async () => {
    const model = await loadedModel(engine, 'golden');
    const { checkpoint, config } = await openModel('golden');
    const files = await exportOnnx(checkpoint, config, { maxInlineBytes: 100_000 });
    expect(files.map((f) => f.name)).toEqual(['vision_encoder.onnx', 'vision_encoder.onnx_data', 'embed_tokens.onnx', 'embed_tokens.onnx_data', 'decoder_model_merged.onnx', 'decoder_model_merged.onnx_data']);
    expect(files.filter((f) => f.name.endsWith('.onnx')).every((f) => f.size < 100_000)).toBe(true);
    expectEqual(await compare(model, await sessions(ort, checkpoint, model, { maxInlineBytes: 100_000 })));
    model.dispose();
  });

  it('the same input gives the same bytes, of the size that was promised', async () => {
    const { checkpoint, config } = await openModel('qwen3_vl');
    const [one, two] = [await exportOnnx(checkpoint, config, { bits: 4 }), await exportOnnx(checkpoint, config, { bits: 4 })];
    for (const [i, file] of one.entries()) {
      let bytes = 0;
      for await (const part of file.parts()) bytes += part.byteLength;
      expect(bytes).toBe(file.size);
      expect(await readOnnxFile(file)).toEqual(await readOnnxFile(two[i]!));
    }
  });
});

describe('large models', () => {
  it("the 3B's shapes in 4 bits: laid out without reading a tensor, in files below their limits", async () => {
    const { config } = await openModel('golden');
    const large = {
      ...config, hiddenSize: 2048, intermediateSize: 11008, numHiddenLayers: 36, numAttentionHeads: 16, numKeyValueHeads: 2, headDim: 128, vocabSize: 151936, mropeSection: [16, 24, 24], maxPositionEmbeddings: 128000,
      vision: { ...config.vision, depth: 32, hiddenSize: 1280, headDim: 80, numHeads: 16, intermediateSize: 3420, outHiddenSize: 2048, fullattBlockIndexes: [7, 15, 23, 31] },
    };
    const shapes = new Map([...textParameters(large).parts, ...visionParameters(large).parts].map((p) => [p.tensor, p.shape]));
    const source = {
      has: (name: string) => shapes.has(name),
      info: (name: string) => ({ name, dtype: 'F32' as const, shape: shapes.get(name)!, begin: 0, end: 0 }),
      readBytes: () => Promise.reject(new Error('was read')),
      readFloat32: () => Promise.reject(new Error('was read')),
    };
    const files = await exportOnnx(source, large, { bits: 4 });
    const sizes = Object.fromEntries(files.map((f) => [f.name, f.size]));
    // 36 layers of 2 x 2048 x (2048 + 256) + 3 x 2048 x 11008 weights and a head of 151936 x 2048, 4 bits each and a float32 for every 32.
    const weights = 36 * (2 * 2048 * (2048 + 256) + 3 * 2048 * 11008) + 151936 * 2048;
    expect(sizes['decoder_model_merged.onnx_data']! / (weights * (0.5 + 4 / 32))).toBeGreaterThan(1);
    expect(sizes['decoder_model_merged.onnx_data']! / (weights * (0.5 + 4 / 32))).toBeLessThan(1.005);
    expect(sizes['embed_tokens.onnx']! / (151936 * 2048 * 2)).toBeCloseTo(1, 3);
    for (const [name, size] of Object.entries(sizes)) if (name.endsWith('.onnx')) expect(size, name).toBeLessThan(2e9);
    expect(sizes['decoder_model_merged.onnx']).toBeLessThan(1e6);
  });
});

describe('batches', () => {
  /** Two rows of different length, padded, in one run; each compared with itself alone. */
  it.each([['standard', 'left'], ['standard', 'right'], ['fused', 'right']] as const)('%s operators, padded on the %s', async (ops, side) => {
    const { checkpoint, config } = await openModel('golden');
    const files = await exported(checkpoint, config, { ops });
    const alone = await OnnxDecoder.create(ort, files, config);
    const session = await ort.InferenceSession.create(files.decoder.model);
    const rows = [[4, 9, 33, 70, 12, 8, 100], [61, 7, 22]];
    const length = 7;
    const embeds = new Float32Array(2 * length * config.hiddenSize);
    const mask = new BigInt64Array(2 * length);
    const positions = new BigInt64Array(3 * 2 * length);
    const starts = rows.map((ids) => (side === 'left' ? length - ids.length : 0));
    for (const [r, ids] of rows.entries()) {
      embeds.set(await alone.embed(ids), (r * length + starts[r]!) * config.hiddenSize);
      ids.forEach((_, i) => {
        mask[r * length + starts[r]! + i] = 1n;
        for (let axis = 0; axis < 3; axis++) positions[(axis * 2 + r) * length + starts[r]! + i] = BigInt(i);
      });
    }
    const empty = () => new ort.Tensor('float32', new Float32Array(0), [2, config.numKeyValueHeads, 0, config.headDim]);
    const out = await session.run({
      inputs_embeds: new ort.Tensor('float32', embeds, [2, length, config.hiddenSize]),
      attention_mask: new ort.Tensor('int64', mask, [2, length]),
      position_ids: new ort.Tensor('int64', positions, [3, 2, length]),
      num_logits_to_keep: new ort.Tensor('int64', [0n], []),
      ...Object.fromEntries(session.inputNames.filter((n) => n.startsWith('past_')).map((n) => [n, empty()])),
    });
    for (const [r, ids] of rows.entries()) {
      const { logits, cache } = await alone.prefill({ inputIds: ids, positionIds: [0, 1, 2].flatMap(() => ids.map((_, i) => i)), images: [] }, 0);
      alone.release(cache);
      const at = (r * length + starts[r]!) * config.vocabSize;
      expect(largest((out['logits']!.data as Float32Array).subarray(at, at + logits.length), logits)).toBeLessThan(1e-4);
    }
    await session.release();
    await alone.dispose();
  });
});

describe('docs/onnx.md', () => {
  it('the program runs as it stands', async () => {
    const page = readFileSync(new URL('../../../docs/onnx.md', import.meta.url), 'utf8');
    const cache = fileURLToPath(new URL('../.cache/', import.meta.url)); // Inside the package, so that imports find the workspace.
    mkdirSync(cache, { recursive: true });
    const work = mkdtempSync(join(cache, 'docs-'));
    try {
      mkdirSync(join(work, 'models'));
      symlinkSync(fixture('model'), join(work, 'models/qwen'));
      symlinkSync(fixture('image_93x61.png'), join(work, 'scene.png'));
      writeFileSync(join(work, 'page.ts'), /```ts\n([^]*?)```/.exec(page)![1]!);
      const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--conditions=@trimpi/source', 'page.ts'], { cwd: work });
      expect(stdout).toMatch(/^(stop|length) \S/);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  });
});

describe('refuses', () => {
  it('weights that are missing or of another shape, and options out of range', async () => {
    const { checkpoint, config } = await openModel('golden');
    const has = (name: string) => name !== 'model.visual.merger.ln_q.weight' && checkpoint.has(name);
    await expect(exportOnnx({ ...checkpoint, has }, config)).rejects.toMatchObject({ code: 'not-found', argument: 'model.visual.merger.ln_q.weight' });
    await expect(exportOnnx(checkpoint, { ...config, vocabSize: 500 })).rejects.toMatchObject({ code: 'tensor-mismatch', argument: 'model.language_model.embed_tokens.weight' });
    await expect(exportOnnx(checkpoint, config, { bits: 8 as never })).rejects.toMatchObject({ code: 'invalid-input', argument: 'bits' });
    await expect(exportOnnx(checkpoint, config, { ops: 'fast' as never })).rejects.toMatchObject({ code: 'invalid-input', argument: 'ops' });
    await expect(exportOnnx(checkpoint, config, { maxPositions: 0 })).rejects.toMatchObject({ code: 'invalid-input', argument: 'maxPositions' });
    await expect(exportOnnx(checkpoint, config, { maxInlineBytes: 3e9 })).rejects.toMatchObject({ code: 'invalid-input', argument: 'maxInlineBytes' });
  });

  it('fused attention over heads that ONNX Runtime does not take', async () => {
    const { checkpoint, config } = await openModel('qwen3_vl');
    await expect(exportOnnx(checkpoint, config, { ops: 'fused' })).rejects.toMatchObject({ code: 'unsupported', argument: 'ops' });
  });

  it('a head that is not the table it is tied to', async () => {
    const model = await loadedModel(engine, 'golden');
    const tensors = await model.tensors();
    const table = tensors.get('model.language_model.embed_tokens.weight')!;
    const { checkpoint } = await openModel('golden');
    const withHead = (head: TensorData) => new Map(tensors).set('lm_head.weight', head);
    await expect(exportOnnx(withHead(table), model.config)).resolves.toHaveLength(3);
    const other = toFloat32(table.data, 'F32');
    other[other.length - 1]! += 1;
    await expect(exportOnnx(withHead(floatTensor(other, table.shape)), model.config)).rejects.toMatchObject({ code: 'tensor-mismatch', argument: 'lm_head.weight' });
    const files = memoryFiles({ 'model.safetensors': serializeSafetensors(withHead(floatTensor(other, table.shape))) });
    await expect(exportOnnx(await openCheckpoint(files), model.config)).rejects.toMatchObject({ code: 'tensor-mismatch', remedy: expect.stringContaining('tie_word_embeddings') as string });
    await expect(exportOnnx(checkpoint, { ...model.config, tieWordEmbeddings: false })).rejects.toMatchObject({ code: 'not-found', argument: 'lm_head.weight' });
    model.dispose();
  });

  it('data of another length than its shape', async () => {
    const model = await loadedModel(engine, 'golden');
    const tensors = await model.tensors();
    const name = 'model.language_model.norm.weight';
    tensors.set(name, { ...tensors.get(name)!, data: new Uint8Array(8) });
    const [, , decoder] = await exportOnnx(tensors, model.config);
    await expect(readOnnxFile(decoder!)).rejects.toMatchObject({ code: 'tensor-mismatch', argument: name });
    model.dispose();
  });

  it('files that are no models, images that are not encoded, positions beyond the table', async () => {
    const { checkpoint, config } = await openModel('golden');
    await expect(OnnxVisionEncoder.create(ort, { model: new Uint8Array([1, 2, 3]) }, config)).rejects.toMatchObject({ code: 'io' });
    const files = await exported(checkpoint, config, { maxPositions: 8 });
    const decoder = await OnnxDecoder.create(ort, files, config, { maxPositions: 8 });
    const [image] = someImages(patchLength(config), [[1, 4, 4]]);
    const prompt = { inputIds: [1, ...Array.from({ length: 4 }, () => config.imageTokenId), 2], positionIds: Array.from({ length: 18 }, () => 0), images: [image!] };
    await expect(decoder.prefill(prompt)).rejects.toMatchObject({ code: 'invalid-input', argument: 'prompt.images' });
    await expect(decoder.prefill({ ...prompt, images: [] })).rejects.toMatchObject({ code: 'invalid-input', argument: 'prompt' });
    await expect(decoder.prefill({ inputIds: [1], positionIds: [8, 8, 8], images: [] })).rejects.toMatchObject({ code: 'invalid-input', argument: 'positions' });
    await expect(generateOnnx(decoder, prompt, { maxNewTokens: 0, stopIds: [] })).rejects.toMatchObject({ code: 'invalid-input', argument: 'maxNewTokens' });
    const encoder = await OnnxVisionEncoder.create(ort, files.vision, config);
    await expect(encoder.encodeOnDevice([image!])).rejects.toMatchObject({ code: 'unsupported', argument: 'device' });
    await expect(encoder.encodeImages(someImages(patchLength(config), [[1, 514, 2]]))).rejects.toMatchObject({ code: 'invalid-input', argument: 'images' });
    await expect(encoder.encodeImages([{ ...image!, pixelValues: new Float32Array(3) }])).rejects.toMatchObject({ code: 'invalid-input' });
    await encoder.dispose();
    await decoder.dispose();
  });
});

describe('generation', () => {
  it('greedy: the tokens of transformers', async () => {
    const golden = await openGolden('generate_single');
    const single = await openGolden('case_single');
    const { checkpoint, config } = await openModel('golden');
    const files = await exported(checkpoint, config);
    const [encoder, decoder] = [await OnnxVisionEncoder.create(ort, files.vision, config), await OnnxDecoder.create(ort, files, config)];
    const inputIds = Array.from(await golden.readFloat32('in.prompt_ids'));
    const grid = await single.readFloat32('in.image_grid_thw');
    const pixels = await single.readFloat32('in.pixel_values');
    const grids = [[grid[0]!, grid[1]!, grid[2]!], [grid[3]!, grid[4]!, grid[5]!]] as const;
    const first = grids[0][1] * grids[0][2] * 1176;
    const images = await encoder.encodeImages([{ gridThw: grids[0], pixelValues: pixels.slice(0, first) }, { gridThw: grids[1], pixelValues: pixels.slice(first) }]);
    const want = Array.from(await golden.readFloat32('out.sequences')).slice(inputIds.length);
    const prompt = { inputIds, positionIds: getRopeIndex(inputIds, grids, config).positionIds, images };
    expect(Array.from((await generateOnnx(decoder, prompt, { maxNewTokens: want.length, stopIds: [] })).tokens)).toEqual(want);
    const streamed: number[] = [];
    const stopped = await generateOnnx(decoder, prompt, { maxNewTokens: want.length, stopIds: [want[2]!], onToken: (t) => streamed.push(t) });
    expect([Array.from(stopped.tokens), stopped.finish]).toEqual([want.slice(0, want.indexOf(want[2]!) + 1), 'stop']);
    expect(streamed).toEqual(Array.from(stopped.tokens));
    await encoder.dispose();
    await decoder.dispose();
  });

  it('sampled: a function of the seed, with the log-probabilities and entropies of our scoring pass', async () => {
    const model = await loadedModel(engine, 'golden');
    const { decoder, vision } = await sessions(ort, (await openModel('golden')).checkpoint, model, {});
    const prompt = { inputIds: [3, 41, 59, 26], positionIds: [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3], images: [] };
    const sample = (seed: number) => generateOnnx(decoder, prompt, { maxNewTokens: 12, stopIds: [], temperature: 1.5, seed });
    const [one, again, other] = [await sample(1), await sample(1), await sample(2)];
    expect(again).toEqual(one);
    expect(other.tokens).not.toEqual(one.tokens);
    const scores = await model.score(packBatch(model.config, [{ sequence: prompt, completions: [one.tokens] }]), { temperature: 1.5 });
    expect(largest(one.logps, scores.logp)).toBeLessThan(1e-4);
    expect(largest(one.entropies, scores.entropy)).toBeLessThan(1e-4);
    await decoder.dispose();
    await vision.dispose();
    model.dispose();
  });
});
