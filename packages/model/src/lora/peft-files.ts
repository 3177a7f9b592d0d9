/**
 * @file PEFT's two files: `adapter_config.json` and `adapter_model.safetensors`.
 *
 * Keys are `base_model.model.` + module path + `.lora_A.weight` | `.lora_B.weight` | `.lora_magnitude_vector`. Written
 * with in-memory paths, which every version of PEFT and transformers loads; read with these and with the published ones
 * of older adapters. A key that fits no module is an error here: PEFT warns and goes on with an adapter that does nothing.
 */
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { requireText, type ModelFiles } from '../files/model-files.ts';
import { parseJsonObject } from '../json-fields.ts';
import { canonicalKey } from '../safetensors/key-layout.ts';
import { SafetensorsFile } from '../safetensors/reader.ts';
import { floatTensor, serializeSafetensors, type TensorData } from '../safetensors/writer.ts';
import { loraConfigToJson, parseLoraConfig, type LoraConfig } from './config.ts';
import { linearModules } from './modules.ts';
import { inMemoryConfig, matchTargets, type LoraTarget } from './targets.ts';

export const ADAPTER_CONFIG_FILE = 'adapter_config.json';
export const ADAPTER_WEIGHTS_FILE = 'adapter_model.safetensors';

/** Weights of the adapter on one module, row-major. */
export interface LoraWeights {
  /** [r, inFeatures] */
  readonly loraA: Float32Array;
  /** [outFeatures, r] */
  readonly loraB: Float32Array;
  /** [outFeatures], with DoRA only. */
  readonly magnitude?: Float32Array;
}

export interface Adapter {
  readonly config: LoraConfig;
  readonly targets: readonly LoraTarget[];
  /** By module path; one entry for every target. */
  readonly weights: ReadonlyMap<string, LoraWeights>;
  /** Weights under an adapted head that PEFT saved beside it (it does so of its own accord); the model's must equal them. */
  readonly baseWeights?: ReadonlyMap<string, Float32Array>;
}

const PREFIX = 'base_model.model.';
const SUFFIXES = { '.lora_A.weight': 'loraA', '.lora_B.weight': 'loraB', '.lora_magnitude_vector': 'magnitude', '.lora_magnitude_vector.weight': 'magnitude' } as const;
const BASE_SUFFIX = '.base_layer.weight';
type Part = (typeof SUFFIXES)[keyof typeof SUFFIXES];

/**
 * Reads an adapter and fits it to a model.
 * @throws ModelError `invalid-adapter` for a key that fits no target, a target without weights or a wrong shape;
 * `not-found`, `invalid-safetensors`, `unsupported`.
 */
export async function readAdapter(files: ModelFiles, model: ModelConfig): Promise<Adapter> {
  const written = parseLoraConfig(parseJsonObject(await requireText(files, ADAPTER_CONFIG_FILE), ADAPTER_CONFIG_FILE, 'invalid-adapter'));
  const source = await files.open(ADAPTER_WEIGHTS_FILE);
  if (source === null) {
    throw new ModelError('not-found', { argument: files.name, value: ADAPTER_WEIGHTS_FILE, message: 'has no such file', remedy: 'Save the adapter with safe_serialization.' });
  }
  const file = await SafetensorsFile.open(source);
  // The patterns of an older adapter speak of the paths that its keys are written with; in memory it is one of today's.
  const modules = linearModules(model);
  const config = [...file.tensors.keys()].some(isPublished) ? inMemoryConfig(modules, written) : written;
  const targets = matchTargets(modules, config);
  const byName = new Map(targets.map((target) => [target.name, target]));
  const found = new Map<string, Partial<Record<Part, Float32Array>>>();
  const baseWeights = new Map<string, Float32Array>();
  for (const [key, { shape }] of file.tensors) {
    if (key === `${PREFIX}lm_head${BASE_SUFFIX}` && byName.has('lm_head')) {
      baseWeights.set('lm_head', await file.readFloat32(key));
      continue;
    }
    const { module, part } = splitKey(key);
    const target = byName.get(module);
    if (target === undefined) refuse(key, module, 'is for a module that the model does not have or the config does not target', 'Use the adapter with the model it was trained for.');
    if (part === 'magnitude' && !config.useDora) refuse(key, part, 'is for DoRA, which the config does not use', 'Correct use_dora.');
    const expected = shapeOf(part, target);
    if (shape.length !== expected.length || !shape.every((size, i) => size === expected[i])) refuse(key, shape, `must have the shape [${expected.join(', ')}]`, 'Use the adapter with the model it was trained for.');
    const parts = found.get(module) ?? {};
    if (parts[part] !== undefined) refuse(key, module, 'comes in two key layouts', 'Save the adapter again.');
    parts[part] = await file.readFloat32(key);
    found.set(module, parts);
  }
  const weights = new Map<string, LoraWeights>();
  for (const { name } of targets) {
    const { loraA, loraB, magnitude } = found.get(name) ?? {};
    if (loraA === undefined || loraB === undefined || (config.useDora && magnitude === undefined)) refuse(ADAPTER_WEIGHTS_FILE, name, 'has not all weights of this target', 'Save the adapter again: the file is incomplete.');
    weights.set(name, magnitude === undefined ? { loraA, loraB } : { loraA, loraB, magnitude });
  }
  return { config, targets, weights, ...(baseWeights.size === 0 ? {} : { baseWeights }) };
}

/**
 * The two files of an adapter, by name; PEFT loads them with no difference.
 * @throws ModelError `invalid-adapter` when weights are missing or of another size than their target's.
 */
export function adapterFiles(adapter: Adapter, baseModelNameOrPath = ''): { [ADAPTER_CONFIG_FILE]: string; [ADAPTER_WEIGHTS_FILE]: Uint8Array } {
  const tensors = new Map<string, TensorData>();
  for (const target of adapter.targets) {
    const weights = adapter.weights.get(target.name);
    if (weights === undefined || (adapter.config.useDora && weights.magnitude === undefined)) refuse('weights', target.name, 'has not all weights of this target', 'Give loraA, loraB and, with DoRA, magnitude.');
    const put = (suffix: string, part: Part, values: Float32Array): void => {
      const shape = shapeOf(part, target);
      if (values.length !== shape.reduce((a, b) => a * b, 1)) refuse(`${target.name}${suffix}`, values.length, `must hold [${shape.join(', ')}] values`, 'Give the whole matrix.');
      tensors.set(`${PREFIX}${target.name}${suffix}`, floatTensor(values, shape));
    };
    put('.lora_A.weight', 'loraA', weights.loraA);
    put('.lora_B.weight', 'loraB', weights.loraB);
    if (weights.magnitude !== undefined) put('.lora_magnitude_vector', 'magnitude', weights.magnitude);
  }
  return {
    [ADAPTER_CONFIG_FILE]: `${JSON.stringify(loraConfigToJson(adapter.config, baseModelNameOrPath), null, 2)}\n`,
    [ADAPTER_WEIGHTS_FILE]: serializeSafetensors(tensors),
  };
}

function isPublished(key: string): boolean {
  return /^base_model\.model\.(visual\.|model\.(layers|embed_tokens|norm)\.)/.test(key);
}

function splitKey(key: string): { module: string; part: Part } {
  for (const [suffix, part] of Object.entries(SUFFIXES)) {
    if (key.startsWith(PREFIX) && key.endsWith(suffix)) return { module: canonicalKey(key.slice(PREFIX.length, -suffix.length)), part };
  }
  return refuse(ADAPTER_WEIGHTS_FILE, key, 'has a key that is none of a LoRA adapter', 'Keys are base_model.model.<module>.lora_A.weight, .lora_B.weight or .lora_magnitude_vector.');
}

function shapeOf(part: Part, target: LoraTarget): number[] {
  switch (part) {
    case 'loraA':
      return [target.r, target.inFeatures];
    case 'loraB':
      return [target.outFeatures, target.r];
    case 'magnitude':
      return [target.outFeatures];
    default:
      return part satisfies never;
  }
}

function refuse(argument: string, value: unknown, message: string, remedy: string): never {
  throw new ModelError('invalid-adapter', { argument, value, message, remedy });
}
