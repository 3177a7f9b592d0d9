/**
 * @file The two key layouts of Qwen2-VL and Qwen2.5-VL checkpoints (reference: transformers' conversion of them).
 *
 * Published (and what transformers saves): `visual.*`, `model.layers.*`, `lm_head.weight`.
 * In memory, and what this package uses everywhere: `model.visual.*`, `model.language_model.*`, `lm_head.weight`.
 * Qwen3-VL files are in the second layout already.
 */
import type { ModelType } from '../config.ts';

/** Any layout to the in-memory names. Names of neither layout come back unchanged. */
export function canonicalKey(key: string): string {
  if (key.startsWith('visual.')) return `model.${key}`;
  if (key.startsWith('model.') && !/^model\.(language_model|visual)\./.test(key)) return `model.language_model.${key.slice('model.'.length)}`;
  return key;
}

/** In-memory names to those of the published files of a model type. */
export function publishedKey(key: string, modelType: ModelType): string {
  if (modelType === 'qwen3_vl') return key;
  if (key.startsWith('model.visual.')) return key.slice('model.'.length);
  if (key.startsWith('model.language_model.')) return `model.${key.slice('model.language_model.'.length)}`;
  return key;
}
