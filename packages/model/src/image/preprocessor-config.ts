/** @file `preprocessor_config.json` of Qwen2-VL, Qwen2.5-VL and Qwen3-VL. */
import type { ModelConfig } from '../config.ts';
import { Fields, isObject } from '../json-fields.ts';

export interface PreprocessorConfig {
  readonly minPixels: number;
  readonly maxPixels: number;
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly mergeSize: number;
  readonly rescaleFactor: number;
  readonly imageMean: readonly [number, number, number];
  readonly imageStd: readonly [number, number, number];
}

const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073] as const;
const CLIP_STD = [0.26862954, 0.26130258, 0.27577711] as const;
const HALF = [0.5, 0.5, 0.5] as const;

/** What a model's processor does when its file is not there: the values of the published checkpoints. */
export function defaultPreprocessorConfig(config: ModelConfig): PreprocessorConfig {
  const { patchSize, temporalPatchSize, spatialMergeSize } = config.vision;
  const qwen3 = config.modelType === 'qwen3_vl';
  return {
    minPixels: qwen3 ? 65536 : 3136,
    maxPixels: qwen3 ? 16777216 : 12845056,
    patchSize,
    temporalPatchSize,
    mergeSize: spatialMergeSize,
    rescaleFactor: 1 / 255,
    imageMean: qwen3 ? HALF : CLIP_MEAN,
    imageStd: qwen3 ? HALF : CLIP_STD,
  };
}

/** What transformers' `Qwen2VLImageProcessor` does where a file leaves a field out, whatever the model. */
const CLASS_DEFAULTS = { minPixels: 56 * 56, maxPixels: 28 * 28 * 1280, imageMean: CLIP_MEAN, imageStd: CLIP_STD };

const SIZE_KEYS: ReadonlySet<string> = new Set(['shortest_edge', 'longest_edge', 'min_pixels', 'max_pixels']);

/**
 * Reads a parsed `preprocessor_config.json`. The bounds come as `min_pixels`/`max_pixels` or as
 * `size: {shortest_edge, longest_edge}` (or `{min_pixels, max_pixels}`, older), which means the same areas; where both are
 * given, the former count.
 * @throws ModelError `invalid-config`, also for sizes that are not the model's or not areas.
 */
export function parsePreprocessorConfig(json: unknown, config: ModelConfig): PreprocessorConfig {
  const fields: Fields = new Fields(isObject(json) ? json : {}, 'preprocessor_config');
  if (!isObject(json)) fields.fail('', 'must be an object', 'Pass JSON.parse of preprocessor_config.json.');
  const base = { ...defaultPreprocessorConfig(config), ...CLASS_DEFAULTS };
  const sizes = fields.object('size') ?? {};
  const size: Fields = new Fields(sizes, 'preprocessor_config.size');
  for (const key of Object.keys(sizes)) {
    if (size.raw(key) !== undefined && !SIZE_KEYS.has(key)) size.fail(key, 'is no bound of an area', 'Give shortest_edge and longest_edge, in pixels of the whole image: it keeps its proportions.');
  }
  const area = (key: string, edge: string, fallback: number): number =>
    fields.integer(key, { max: 2 ** 31, fallback: size.integer(edge, { max: 2 ** 31, fallback: size.integer(key, { max: 2 ** 31, fallback }) }) });
  const minPixels = area('min_pixels', 'shortest_edge', base.minPixels);
  const maxPixels = area('max_pixels', 'longest_edge', base.maxPixels);
  if (minPixels > maxPixels) fields.fail('min_pixels', `must not exceed max_pixels (${maxPixels})`, 'Correct the field.');
  for (const key of ['do_resize', 'do_rescale', 'do_normalize', 'do_convert_rgb']) {
    if (!fields.boolean(key, true)) fields.fail(key, 'must be true', 'Only the whole chain of preprocessing is computed.');
  }
  if (fields.integer('resample', { fallback: 3, min: 0, max: 5 }) !== 3) fields.fail('resample', 'must be 3 (bicubic)', 'Only bicubic resampling is computed.');
  const same = (key: string, expected: number): number => {
    const value = fields.integer(key, { fallback: expected, max: 4096 });
    if (value !== expected) fields.fail(key, `must be the model's ${expected}`, 'Use the preprocessor_config.json of this model.');
    return value;
  };
  return {
    minPixels,
    maxPixels,
    patchSize: same('patch_size', base.patchSize),
    temporalPatchSize: same('temporal_patch_size', base.temporalPatchSize),
    mergeSize: same('merge_size', base.mergeSize),
    rescaleFactor: fields.number('rescale_factor', { fallback: base.rescaleFactor, min: 1e-9, max: 1 }),
    imageMean: triple(fields, 'image_mean', base.imageMean, -1e3),
    imageStd: triple(fields, 'image_std', base.imageStd, 1e-6),
  };
}

function triple(fields: Fields, key: string, fallback: readonly [number, number, number], min: number): [number, number, number] {
  const value = fields.raw(key) ?? fallback;
  if (!Array.isArray(value) || value.length !== 3 || !value.every((item) => typeof item === 'number' && item >= min && item <= 1e3)) {
    fields.fail(key, `must be three numbers of at least ${min}`, 'Correct the field.');
  }
  const [r, g, b] = value as [number, number, number];
  return [r, g, b];
}
