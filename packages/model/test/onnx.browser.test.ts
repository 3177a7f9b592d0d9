/** @file ONNX files in onnxruntime-web on our own WebGPU device, and features that stay on it. */
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import * as ort from 'onnxruntime-web/webgpu';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { type BatchImage, generate, httpFiles, loraConfig, openCheckpoint, packBatch, parseConfig, requireText, VisionLanguageModel } from '../src/index.ts';
import { OnnxVisionEncoder } from '../src/onnx.ts';
import { patchLength } from '../src/vl/parameters.ts';
import { compare, exported, fourBits, GRIDS, largest, modelWith, sessions, someImages } from './onnx-compare.ts';

ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';

/** The browser's adapter without subgroups, with which ONNX Runtime's GroupQueryAttention is wrong on SwiftShader. */
const gpu = {
  requestAdapter: async (options?: GPURequestAdapterOptions) => {
    const adapter = (await navigator.gpu.requestAdapter(options))!;
    return { info: adapter.info, limits: adapter.limits, features: new Set([...adapter.features].filter((f) => f !== 'subgroups')), requestDevice: (d?: GPUDeviceDescriptor) => adapter.requestDevice(d) };
  },
} as unknown as GPU;
const device = await openDevice({ gpu });
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const GOLDEN = new URL('./fixtures/qwen25vl/model/', import.meta.url);
const UNTIED = new URL('./fixtures/variants/qwen25_untied/', import.meta.url);

async function open(folder = GOLDEN) {
  const files = httpFiles(folder);
  const config = parseConfig(JSON.parse(await requireText(files, 'config.json')));
  const checkpoint = await openCheckpoint(files);
  const model = new VisionLanguageModel(engine, config);
  await model.load(checkpoint);
  return { config, checkpoint, model };
}

function expectEqual({ features, prefill, decode, tokens, want }: Awaited<ReturnType<typeof compare>>): void {
  expect(features).toBeLessThan(1e-4);
  expect(prefill).toBeLessThan(1e-4);
  expect(decode).toBeLessThan(1e-4);
  expect(tokens).toEqual(want);
}

describe('onnxruntime-web on our device', () => {
  it.each(['standard', 'fused'] as const)('%s operators: features, logits, cache and greedy tokens are those of our forward', async (ops) => {
    const { checkpoint, model } = await open();
    expectEqual(await compare(model, await sessions(ort, checkpoint, model, { ops }, { device: device.gpu })));
    model.dispose();
  });

  it('4 bits: the logits of our forward with dequantised weights', async () => {
    const { config, model: base } = await open(UNTIED);
    const weights = await base.tensors();
    const model = await modelWith(engine, config, fourBits(weights));
    expectEqual(await compare(model, await sessions(ort, weights, model, { bits: 4 }, { device: device.gpu })));
    base.dispose();
    model.dispose();
  });

  it('a frozen encoder writes features into storage of our engine, where scoring, training and generation take them', async () => {
    const { checkpoint, config, model } = await open();
    const encoder = await OnnxVisionEncoder.create(ort, (await exported(checkpoint, config)).vision, config, { device: device.gpu });
    const images = someImages(patchLength(config), GRIDS);
    const own = await model.encodeImages(images);
    const width = config.vision.outHiddenSize;
    const cells = own.reduce((sum, { features }) => sum + features.length / width, 0);
    const storage = engine.createStorage('features', 64 + cells * width);
    const maps = vi.spyOn(engine, 'map');
    const stored = await encoder.encodeInto(storage, images, 64);
    const { imageTokenId: image } = config;
    const ids = [5, ...Array.from({ length: cells }, () => image), 7, 9, 11];
    const positions = [0, 1, 2].flatMap(() => ids.map((_, i) => i));
    const sequence = (of: readonly BatchImage[]) => ({ inputIds: ids, positionIds: positions, images: of });
    const batch = (of: readonly BatchImage[]) => packBatch(config, [{ sequence: sequence(of) }]);
    expect(maps).not.toHaveBeenCalled();
    // Training, scoring and generation take them where they are: nothing but log-probabilities comes to the host.
    model.addAdapter('a', loraConfig({ r: 2 }), 1);
    model.setTrainable({ adapter: 'a' });
    const seeds = new Float32Array(ids.length - 1 - cells).fill(1);
    const rows = (of: readonly BatchImage[]) => packBatch(config, [{ sequence: sequence(of), predict: ids.map((id, i) => (i > 0 && id !== image ? 1 : 0)) }]);
    const trained = await model.accumulate(rows(stored), seeds, { adapter: 'a' });
    expect(maps).toHaveBeenCalledTimes(1);
    maps.mockRestore();
    const wanted = await model.score(batch(own));
    expect(largest((await model.score(batch(stored))).logp, wanted.logp)).toBeLessThan(1e-4);
    expect(largest(trained.logp, (await model.accumulate(rows(own), seeds, { adapter: 'a' })).logp)).toBeLessThan(1e-4);
    const [first, second] = await Promise.all([stored, own].map(async (of) => (await generate(model, [sequence(of)], { maxNewTokens: 4, temperature: 0, stopIds: [], seed: 1 }))[0]!));
    expect(first!.tokens).toEqual(second!.tokens);

    // On the host as images of a batch: the same log-probabilities as with our tower.
    const encoded = await encoder.encodeImages(images);
    expect(largest((await model.score(batch(encoded))).logp, wanted.logp)).toBeLessThan(1e-4);

    await expect(encoder.encodeInto(engine.createStorage('small', 8), images)).rejects.toMatchObject({ code: 'invalid-input', argument: 'storage' });
    await encoder.dispose();
    storage.dispose();
    model.dispose();
  });
});
