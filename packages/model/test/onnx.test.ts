/** @file ONNX files in onnxruntime-web (WebAssembly) against our own forward. */
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import * as ort from 'onnxruntime-web';
import { afterAll, describe, expect, it } from 'vitest';
import { dequantiseNbits4, floatTensor, fromFloat32, generate, getRopeIndex, loraConfig, packBatch, quantiseNbits4, toFloat32, type TensorData, type TokenSequence, VisionLanguageModel } from '../src/index.ts';
import { exportOnnx, generateOnnx, OnnxDecoder, OnnxVisionEncoder, readOnnxFile } from '../src/onnx.ts';
import { patchLength } from '../src/vl/parameters.ts';
import { exported, largest, loadedModel, type Name, openModel, someImages } from './onnx-models.ts';

ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';
const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const GRIDS = [[1, 10, 6], [1, 4, 12], [2, 4, 4]] as const;

/** Text around three images, the last one of two frames. */
function promptOf(model: VisionLanguageModel, images: TokenSequence['images']): TokenSequence {
  const { imageTokenId, visionStartTokenId, visionEndTokenId } = model.config;
  const inputIds = [5, 17, 33, ...images.flatMap(({ gridThw: [t, h, w] }, i) => [visionStartTokenId, ...Array.from({ length: (t * h * w) / 4 }, () => imageTokenId), visionEndTokenId, 40 + i]), 9, 71, 12];
  return { inputIds, positionIds: getRopeIndex(inputIds, images.map((i) => i.gridThw), model.config).positionIds, images };
}

/** All logits of a prompt by our own forward. */
async function ownLogits(model: VisionLanguageModel, sequence: TokenSequence, adapter?: string): Promise<Float32Array> {
  const n = sequence.inputIds.length;
  // The last token predicts nothing in a batch, so one more stands behind it.
  const inputIds = [...Array.from(sequence.inputIds), 3];
  const positions = Array.from(sequence.positionIds);
  const positionIds = [0, 1, 2].flatMap((a) => [...positions.slice(a * n, (a + 1) * n), 0]);
  const batch = packBatch(model.config, [{ sequence: { inputIds, positionIds, images: sequence.images } }]);
  const out = await model.inspect(batch, ['logits'], adapter === undefined ? {} : { adapter });
  return out['logits']!.subarray(0, n * model.config.vocabSize);
}

async function sessions(source: Parameters<typeof exported>[0], model: VisionLanguageModel, options: Parameters<typeof exported>[2]) {
  const files = await exported(source, model.config, options);
  return { vision: await OnnxVisionEncoder.create(ort, files.vision, model.config), decoder: await OnnxDecoder.create(ort, files, model.config) };
}

/** Vision features, prefill, decoding with the cache and greedy tokens; the largest differences. */
async function compare(model: VisionLanguageModel, { vision, decoder }: Awaited<ReturnType<typeof sessions>>, adapter?: string) {
  const images = someImages(patchLength(model.config), GRIDS);
  const [own, theirs] = [await model.encodeImages(images, adapter === undefined ? {} : { adapter }), await vision.encodeImages(images)];
  const features = Math.max(...own.map(({ features }, i) => largest(theirs[i]!.features, features)));
  const prompt = promptOf(model, images);
  const want = await ownLogits(model, prompt, adapter);
  const { vocabSize } = model.config;
  const { logits, cache } = await decoder.prefill({ ...prompt, images: theirs }, 0);
  const prefill = largest(logits, want);
  // The same tokens one at a time, from a cache that holds all of the prompt but its last three (behind the images).
  const n = prompt.inputIds.length;
  const positions = Array.from(prompt.positionIds);
  const cut = n - 3;
  const head = { inputIds: Array.from(prompt.inputIds).slice(0, cut), positionIds: [0, 1, 2].flatMap((a) => positions.slice(a * n, a * n + cut)), images: theirs };
  let step = await decoder.prefill(head);
  let decode = largest(step.logits, want.subarray((cut - 1) * vocabSize, cut * vocabSize));
  for (let i = cut; i < n; i++) {
    step = await decoder.step(prompt.inputIds[i]!, positions[i]!, step.cache);
    decode = Math.max(decode, largest(step.logits, want.subarray(i * vocabSize, (i + 1) * vocabSize)));
  }
  decoder.release(step.cache);
  decoder.release(cache);
  const options = { maxNewTokens: 8, stopIds: [], temperature: 0, seed: 1 };
  const greedy = await generateOnnx(decoder, { ...prompt, images: theirs }, options);
  const [mine] = await generate(model, [prompt], { ...options, ...(adapter === undefined ? {} : { adapter }) });
  await vision.dispose();
  await decoder.dispose();
  return { features, prefill, decode, tokens: Array.from(greedy.tokens), want: Array.from(mine!.tokens) };
}

function expectEqual(result: Awaited<ReturnType<typeof compare>>): void {
  if (process.env['ONNX_FIGURES'] !== undefined) console.log(expect.getState().currentTestName, JSON.stringify({ features: result.features, prefill: result.prefill, decode: result.decode }));
  expect(result.features).toBeLessThan(1e-4);
  expect(result.prefill).toBeLessThan(1e-4);
  expect(result.decode).toBeLessThan(1e-4);
  expect(result.tokens).toEqual(result.want);
}

describe('in onnxruntime-web', () => {
  it.each<[Name, 'standard' | 'fused']>([['golden', 'standard'], ['golden', 'fused'], ['tiny-base', 'standard'], ['tiny-base', 'fused'], ['qwen25_untied', 'standard'], ['qwen2_vl', 'standard'], ['qwen3_vl', 'standard']])('%s, %s operators: features, logits, cache and greedy tokens are those of our forward', async (name, ops) => {
    const model = await loadedModel(engine, name);
    expectEqual(await compare(model, await sessions((await openModel(name)).checkpoint, model, { ops })));
    model.dispose();
  });
});
