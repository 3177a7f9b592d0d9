/** @file ONNX files in ONNX Runtime beside our own forward, in Node and in browsers. */
import type { Engine } from '@trimpi/runtime';
import { type BatchImage, dequantiseNbits4, floatTensor, fromFloat32, generate, getRopeIndex, type ModelConfig, packBatch, quantiseNbits4, type TensorData, toFloat32, type TokenSequence, VisionLanguageModel } from '../src/index.ts';
import { DECODER_FILE, EMBED_TOKENS_FILE, exportOnnx, type ExportOnnxOptions, generateOnnx, OnnxDecoder, type OnnxModelBytes, type OnnxSessionOptions, type OnnxSource, OnnxVisionEncoder, type OrtModule, readOnnxFile, VISION_ENCODER_FILE } from '../src/onnx.ts';
import { patchLength } from '../src/vl/parameters.ts';

/** The three models of an export, in memory. */
export async function exported(source: OnnxSource, config: ModelConfig, options: ExportOnnxOptions = {}): Promise<{ vision: OnnxModelBytes; embedTokens: OnnxModelBytes; decoder: OnnxModelBytes }> {
  const files = new Map<string, Uint8Array>();
  for (const file of await exportOnnx(source, config, { maxPositions: 512, maxPatchRows: 64, ...options })) files.set(file.name, await readOnnxFile(file));
  const bytes = (name: string): OnnxModelBytes => {
    const data = files.get(`${name}_data`);
    return { model: files.get(name)!, ...(data === undefined ? {} : { externalData: { path: `${name}_data`, data } }) };
  };
  return { vision: bytes(VISION_ENCODER_FILE), embedTokens: bytes(EMBED_TOKENS_FILE), decoder: bytes(DECODER_FILE) };
}

/** Images of uneven grids (windows cut off at the edges, more than one frame), with pixels that are a function of their place. */
export function someImages(length: number, grids: readonly (readonly [number, number, number])[]): (BatchImage & { readonly pixelValues: Float32Array })[] {
  return grids.map((gridThw, image) => ({ gridThw, pixelValues: Float32Array.from({ length: gridThw[0] * gridThw[1] * gridThw[2] * length }, (_, i) => Math.sin(i * 0.7 + image) * 1.5 + Math.cos(i * 0.013)) }));
}

export function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Infinity;
  let most = 0;
  for (let i = 0; i < want.length; i++) most = Math.max(most, Math.abs(got[i]! - want[i]!));
  return Number.isNaN(most) ? Infinity : most;
}

/** Windows cut off at the edges, and two frames. */
export const GRIDS = [[1, 10, 6], [1, 4, 12], [2, 4, 4]] as const;

/** Text around three images, the last one of two frames. */
export function promptOf(model: VisionLanguageModel, images: TokenSequence['images']): TokenSequence {
  const { imageTokenId, visionStartTokenId, visionEndTokenId } = model.config;
  const inputIds = [5, 17, 33, ...images.flatMap(({ gridThw: [t, h, w] }, i) => [visionStartTokenId, ...Array.from({ length: (t * h * w) / 4 }, () => imageTokenId), visionEndTokenId, 40 + i]), 9, 71, 12];
  return { inputIds, positionIds: getRopeIndex(inputIds, images.map((i) => i.gridThw), model.config).positionIds, images };
}

/** All logits of a prompt by our own forward. */
export async function ownLogits(model: VisionLanguageModel, sequence: TokenSequence, adapter?: string): Promise<Float32Array> {
  const n = sequence.inputIds.length;
  // The last token predicts nothing in a batch, so one more stands behind it.
  const inputIds = [...Array.from(sequence.inputIds), 3];
  const positions = Array.from(sequence.positionIds);
  const positionIds = [0, 1, 2].flatMap((a) => [...positions.slice(a * n, (a + 1) * n), 0]);
  const batch = packBatch(model.config, [{ sequence: { inputIds, positionIds, images: sequence.images } }]);
  const out = await model.inspect(batch, ['logits'], adapter === undefined ? {} : { adapter });
  return out['logits']!.subarray(0, n * model.config.vocabSize);
}

export async function sessions(ort: OrtModule, source: OnnxSource, model: VisionLanguageModel, options: ExportOnnxOptions = {}, session: OnnxSessionOptions = {}) {
  const files = await exported(source, model.config, options);
  return { vision: await OnnxVisionEncoder.create(ort, files.vision, model.config, session), decoder: await OnnxDecoder.create(ort, files, model.config, session) };
}

/** Vision features, prefill, decoding with the cache and greedy tokens; the largest differences. */
export async function compare(model: VisionLanguageModel, { vision, decoder }: Awaited<ReturnType<typeof sessions>>, adapter?: string) {
  const images = someImages(patchLength(model.config), GRIDS);
  const [own, theirs] = [await model.encodeImages(images, adapter === undefined ? {} : { adapter }), await vision.encodeImages(images)];
  const features = Math.max(...own.map((image, i) => largest(theirs[i]!.features, image.features)));
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

/** The model with the matrices of the decoder (its head too) as they are after 4 bits, everything else after float16: what a 4-bit file computes. */
export function fourBits(tensors: ReadonlyMap<string, TensorData>): Map<string, TensorData> {
  return new Map([...tensors].map(([name, { shape, data }]) => {
    const values = toFloat32(data, 'F32');
    if (shape.length === 1) return [name, floatTensor(values, shape)];
    const [rows, columns] = [shape[0]!, values.length / shape[0]!];
    const rounded = name.includes('.layers.') || name === 'lm_head.weight' ? dequantiseNbits4(quantiseNbits4(values, rows, columns, { blockSize: 32, symmetric: true })) : toFloat32(fromFloat32(values, 'F16'), 'F16');
    return [name, floatTensor(rounded, shape)];
  }));
}

/** A model of ours with given tensors. */
export async function modelWith(engine: Engine, config: ModelConfig, tensors: ReadonlyMap<string, TensorData>): Promise<VisionLanguageModel> {
  const model = new VisionLanguageModel(engine, config);
  await model.load({
    names: [...tensors.keys()],
    has: (name) => tensors.has(name),
    info: (name) => ({ ...tensors.get(name)!, name, begin: 0, end: 0 }),
    readBytes: async (name) => tensors.get(name)!.data,
    readFloat32: async (name) => toFloat32(tensors.get(name)!.data, 'F32'),
  });
  return model;
}
