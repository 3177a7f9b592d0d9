/** @file ONNX files in onnxruntime-web on our own WebGPU device, and features that stay on it. */
import { Graph, openDevice, WebGpuEngine } from '@trimpi/runtime';
import * as ort from 'onnxruntime-web/webgpu';
import { afterAll, describe, expect, it } from 'vitest';
import { httpFiles, openCheckpoint, packBatch, parseConfig, requireText, VisionLanguageModel } from '../src/index.ts';
import { OnnxVisionEncoder } from '../src/onnx.ts';
import { patchLength } from '../src/vl/parameters.ts';
import { compare, exported, GRIDS, largest, sessions, someImages } from './onnx-compare.ts';

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

async function open() {
  const files = httpFiles(new URL('./fixtures/qwen25vl/model/', import.meta.url));
  const config = parseConfig(JSON.parse(await requireText(files, 'config.json')));
  const checkpoint = await openCheckpoint(files);
  const model = new VisionLanguageModel(engine, config);
  await model.load(checkpoint);
  return { config, checkpoint, model };
}

describe('onnxruntime-web on our device', () => {
  it.each(['standard', 'fused'] as const)('%s operators: features, logits, cache and greedy tokens are those of our forward', async (ops) => {
    const { checkpoint, model } = await open();
    const result = await compare(model, await sessions(ort, checkpoint, model, { ops }, { device: device.gpu }));
    console.log(ops, JSON.stringify({ features: result.features, prefill: result.prefill, decode: result.decode }));
    expect(result.features).toBeLessThan(1e-4);
    expect(result.prefill).toBeLessThan(1e-4);
    expect(result.decode).toBeLessThan(1e-4);
    expect(result.tokens).toEqual(result.want);
    model.dispose();
  });

  it('a frozen encoder writes features into storage of our engine, and a graph reads them there', async () => {
    const { checkpoint, config, model } = await open();
    const encoder = await OnnxVisionEncoder.create(ort, (await exported(checkpoint, config)).vision, config, { device: device.gpu });
    const images = someImages(patchLength(config), GRIDS);
    const own = await model.encodeImages(images);
    const want = own.flatMap(({ features }) => Array.from(features as Float32Array));
    const width = config.vision.outHiddenSize;
    const cells = want.length / width;
    const storage = engine.createStorage('features', 64 + want.length);
    expect(await encoder.encodeInto(storage, images, 64)).toBe(cells);
    const g = new Graph();
    const read = g.view(storage, 64, [cells, width]);
    const { add } = await import('@trimpi/runtime');
    g.output('twice', add(read, read));
    const plan = await engine.compile(g);
    const out = (await plan.run({}, ['twice']))['twice']!;
    expect(largest(out, want.map((x) => 2 * x))).toBeLessThan(2e-4);
    plan.dispose();

    // On the host as images of a batch: the same log-probabilities as with our tower.
    const encoded = await encoder.encodeImages(images);
    const { imageTokenId: image } = config;
    const ids = [5, ...own.flatMap(({ features }) => Array.from({ length: features.length / width }, () => image)), 7, 9, 11];
    const positions = [0, 1, 2].flatMap(() => ids.map((_, i) => i));
    const score = (images: typeof own) => model.score(packBatch(config, [{ sequence: { inputIds: ids, positionIds: positions, images } }]));
    expect(largest((await score(encoded)).logp, (await score(own)).logp)).toBeLessThan(1e-4);

    await expect(encoder.encodeInto(engine.createStorage('small', 8), images)).rejects.toMatchObject({ code: 'invalid-input', argument: 'storage' });
    await encoder.dispose();
    storage.dispose();
    model.dispose();
  });
});
