/** @file The models that ONNX exports are compared with: the golden one, the shipped tiny base and the variants. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Engine } from '@trimpi/runtime';
import { type BatchImage, memoryFiles, openCheckpoint, parseConfig, VisionLanguageModel } from '../src/index.ts';
import { DECODER_FILE, EMBED_TOKENS_FILE, exportOnnx, type ExportOnnxOptions, type OnnxModelBytes, type OnnxSource, readOnnxFile, VISION_ENCODER_FILE } from '../src/onnx.ts';

export type Name = 'golden' | 'tiny-base' | 'qwen2_vl' | 'qwen3_vl' | 'qwen25_untied';

const FOLDERS: Record<Name, string> = {
  golden: './fixtures/qwen25vl/model/',
  'tiny-base': '../../pipeline/assets/tiny-base/',
  qwen2_vl: './fixtures/variants/qwen2_vl/',
  qwen3_vl: './fixtures/variants/qwen3_vl/',
  qwen25_untied: './fixtures/variants/qwen25_untied/',
};

export async function openModel(name: Name) {
  const read = (file: string) => new Uint8Array(readFileSync(fileURLToPath(new URL(FOLDERS[name] + file, import.meta.url))));
  const config = parseConfig(JSON.parse(new TextDecoder().decode(read('config.json'))));
  const checkpoint = await openCheckpoint(memoryFiles({ 'model.safetensors': read('model.safetensors') }));
  return { config, checkpoint };
}

export async function loadedModel(engine: Engine, name: Name): Promise<VisionLanguageModel> {
  const { config, checkpoint } = await openModel(name);
  const model = new VisionLanguageModel(engine, config);
  await model.load(checkpoint);
  return model;
}

/** The three models of an export, in memory. */
export async function exported(source: OnnxSource, config: Parameters<typeof exportOnnx>[1], options: ExportOnnxOptions = {}): Promise<{ vision: OnnxModelBytes; embedTokens: OnnxModelBytes; decoder: OnnxModelBytes }> {
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
