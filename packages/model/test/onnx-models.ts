/** @file The models that ONNX exports are compared with: the golden one, the shipped tiny base and the variants. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Engine } from '@trimpi/runtime';
import { memoryFiles, openCheckpoint, parseConfig, VisionLanguageModel } from '../src/index.ts';

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
