/** @file ONNX files in onnxruntime-web on our own WebGPU device, and features that stay on it. */
import { embed, Graph, openDevice, WebGpuEngine } from '@trimpi/runtime';
import * as ort from 'onnxruntime-web/webgpu';
import { afterAll, describe, expect, it } from 'vitest';
import { httpFiles, openCheckpoint, packBatch, parseConfig, requireText, VisionLanguageModel } from '../src/index.ts';
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

  it('a frozen encoder writes features into storage of our engine, and a graph reads them there', async () => {
    const { checkpoint, config, model } = await open();
    const encoder = await OnnxVisionEncoder.create(ort, (await exported(checkpoint, config)).vision, config, { device: device.gpu });
    const images = someImages(patchLength(config), GRIDS);
    const own = await model.encodeImages(images);
    const width = config.vision.outHiddenSize;
    const cells = own.reduce((sum, { features }) => sum + features.length / width, 0);
    const storage = engine.createStorage('features', 64 + cells * width);
    expect(await encoder.encodeInto(storage, images, 64)).toBe(cells);
    // What our text tower begins with, made from the features where they are: they never come to the host.
    const { imageTokenId: image } = config;
    const ids = [5, ...Array.from({ length: cells }, () => image), 7, 9, 11];
    const positions = [0, 1, 2].flatMap(() => ids.map((_, i) => i));
    const batch = (of: typeof own) => packBatch(config, [{ sequence: { inputIds: ids, positionIds: positions, images: of } }]);
    const n = ids.length;
    const g = new Graph();
    const source = Int32Array.from(ids, (id, i) => (id === image ? i - 1 : -1));
    const embedded = embed(g.input('ids', [n], 'i32'), model.parameter(g, 'embed_tokens'), { features: g.view(storage, 64, [cells, width]), source: g.input('source', [n], 'i32'), featureTokens: g.input('featureTokens', [cells], 'i32') });
    g.output('embedded', embedded);
    const plan = await engine.compile(g);
    const { embedded: got } = await plan.run({ ids: Int32Array.from(ids), source, featureTokens: Int32Array.from({ length: cells }, (_, i) => i + 1) }, ['embedded']);
    plan.dispose();
    const { 'text.embedded': wanted } = await model.inspect(batch(own), ['text.embedded']);
    expect(largest(got!, wanted!.subarray(0, n * width))).toBeLessThan(1e-4);

    // On the host as images of a batch: the same log-probabilities as with our tower.
    const encoded = await encoder.encodeImages(images);
    expect(largest((await model.score(batch(encoded))).logp, (await model.score(batch(own))).logp)).toBeLessThan(1e-4);

    await expect(encoder.encodeInto(engine.createStorage('small', 8), images)).rejects.toMatchObject({ code: 'invalid-input', argument: 'storage' });
    await encoder.dispose();
    storage.dispose();
    model.dispose();
  });
});
