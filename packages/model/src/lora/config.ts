/** @file LoRA settings in the terms of PEFT (`LoraConfig`), and what they mean for one module. */
import { nearest } from '../checks.ts';
import { ModelError } from '../errors.ts';
import { Fields, isObject } from '../json-fields.ts';

/** Field names and meaning as in PEFT, in camelCase. */
export interface LoraConfig {
  /** Rank. */
  readonly r: number;
  readonly loraAlpha: number;
  /** Probability with which an input of the adapter is dropped in training. */
  readonly loraDropout: number;
  /** A regular expression that the whole module path has to match, the name `all-linear`, or a list of paths or their ends. */
  readonly targetModules: string | readonly string[];
  /** Modules left out, in the same terms; null for none. */
  readonly excludeModules: string | readonly string[] | null;
  /** Scale by alpha / sqrt(r) (arXiv 2312.03732) and not by alpha / r. */
  readonly useRslora: boolean;
  /** Learn the magnitude of every output apart from its direction (arXiv 2402.09353). */
  readonly useDora: boolean;
  /** Ranks of single modules: a regular expression on the end of the path -> rank; the first that matches counts. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Only layers of these numbers, of what the ends of paths in `targetModules` match (a module named by its whole path stays); null for all. */
  readonly layersToTransform: readonly number[] | null;
  /** What the number of a layer follows in a path (`layers`, `blocks`); null for anything. */
  readonly layersPattern: readonly string[] | null;
}

/** The seven projections of the text layers, and nothing of the vision tower (whose feed-forward has the same names). */
export const TEXT_TARGETS = String.raw`.*language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)`;

/** The config with PEFT's defaults (r 8, alpha 8, no dropout) where nothing is given; targets default to the text projections. */
export function loraConfig(options: Partial<LoraConfig> = {}): LoraConfig {
  const config: LoraConfig = {
    r: 8,
    loraAlpha: 8,
    loraDropout: 0,
    targetModules: TEXT_TARGETS,
    excludeModules: null,
    useRslora: false,
    useDora: false,
    rankPattern: {},
    alphaPattern: {},
    layersToTransform: null,
    layersPattern: null,
  };
  const unknown = Object.keys(options).find((key) => !Object.hasOwn(config, key));
  if (unknown !== undefined) throw new ModelError('invalid-adapter', { argument: `lora.${unknown}`, value: options[unknown as keyof LoraConfig], message: 'is no setting', remedy: `Did you mean ${nearest(unknown, Object.keys(config))}?` });
  return checkLoraConfig({ ...config, ...options });
}

/** What the adapter's output is multiplied by. */
export function loraScaling(r: number, alpha: number, useRslora: boolean): number {
  return useRslora ? alpha / Math.sqrt(r) : alpha / r;
}

/**
 * Reads a parsed `adapter_config.json`.
 * @throws ModelError `invalid-adapter` for a bad field, `unsupported` for a kind of adapter that is not computed here.
 */
export function parseLoraConfig(json: unknown): LoraConfig {
  if (!isObject(json)) {
    throw new ModelError('invalid-adapter', { argument: 'adapter_config.json', value: json, message: 'must be an object', remedy: 'Pass JSON.parse of the file.' });
  }
  const fields: Fields = new Fields(json, 'adapter_config', 'invalid-adapter');
  if (fields.string('peft_type') !== 'LORA') unsupported('peft_type', json['peft_type']);
  if (fields.string('bias', 'none') !== 'none') unsupported('bias', json['bias']);
  for (const key of UNSUPPORTED) {
    const value = fields.raw(key);
    if (value !== undefined && value !== false && !isEmpty(value)) unsupported(key, value);
  }
  // These start from changed base weights, which the adapter's files do not hold.
  const init = fields.raw('init_lora_weights');
  if (typeof init === 'string' && /^(pissa|olora|corda|loftq|lora_ga)/.test(init)) unsupported('init_lora_weights', init);
  return loraConfig({
    r: fields.integer('r', { fallback: 8, max: 65536 }),
    loraAlpha: fields.number('lora_alpha', { fallback: 8, min: -1e9, max: 1e9 }),
    loraDropout: fields.number('lora_dropout', { fallback: 0, min: 0, max: 1 }),
    targetModules: patternsOf(fields, 'target_modules') ?? fields.fail('target_modules', 'is missing', 'Name the target modules: PEFT has no default for this model.'),
    excludeModules: patternsOf(fields, 'exclude_modules') ?? null,
    useRslora: fields.boolean('use_rslora', false),
    useDora: fields.boolean('use_dora', false),
    rankPattern: numbersOf(fields, 'rank_pattern'),
    alphaPattern: numbersOf(fields, 'alpha_pattern'),
    layersToTransform: layersOf(fields),
    layersPattern: namesOf(fields, 'layers_pattern'),
  });
}

/** Fields of PEFT that change what an adapter computes and are not computed here. */
const UNSUPPORTED = [
  'modules_to_save', 'layer_replication', 'trainable_token_indices', 'target_parameters', 'lora_bias',
  'megatron_config', 'use_qalora', 'use_bdlora', 'alora_invocation_tokens', 'arrow_config',
  'kasa_config', 'velora_config', 'monteclora_config',
] as const;

/** The object of an `adapter_config.json` that PEFT loads. */
export function loraConfigToJson(config: LoraConfig, baseModelNameOrPath = ''): Record<string, unknown> {
  return {
    alpha_pattern: config.alphaPattern,
    auto_mapping: null,
    base_model_name_or_path: baseModelNameOrPath,
    bias: 'none',
    exclude_modules: config.excludeModules,
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: config.layersPattern,
    layers_to_transform: config.layersToTransform,
    lora_alpha: config.loraAlpha,
    lora_bias: false,
    lora_dropout: config.loraDropout,
    modules_to_save: null,
    peft_type: 'LORA',
    r: config.r,
    rank_pattern: config.rankPattern,
    revision: null,
    target_modules: config.targetModules,
    task_type: 'CAUSAL_LM',
    use_dora: config.useDora,
    use_rslora: config.useRslora,
  };
}

function checkLoraConfig(config: LoraConfig): LoraConfig {
  if (!Number.isInteger(config.r) || config.r < 1) bad('r', config.r, 'must be a positive integer');
  if (!Number.isFinite(config.loraAlpha)) bad('loraAlpha', config.loraAlpha, 'must be a finite number');
  if (!(config.loraDropout >= 0 && config.loraDropout < 1)) bad('loraDropout', config.loraDropout, 'must be at least 0 and below 1');
  if (config.layersToTransform !== null && typeof config.targetModules === 'string') bad('layersToTransform', config.layersToTransform, 'goes with a list of targetModules only');
  if (config.targetModules.length === 0) bad('targetModules', config.targetModules, 'must name something');
  for (const [pattern, rank] of Object.entries(config.rankPattern)) if (!Number.isInteger(rank) || rank < 1) bad(`rankPattern[${pattern}]`, rank, 'must be a positive integer');
  for (const [pattern, alpha] of Object.entries(config.alphaPattern)) if (!Number.isFinite(alpha)) bad(`alphaPattern[${pattern}]`, alpha, 'must be a finite number');
  return config;
}

function bad(argument: string, value: unknown, message: string): never {
  throw new ModelError('invalid-adapter', { argument: `lora.${argument}`, value, message, remedy: 'Correct the setting.' });
}

function patternsOf(fields: Fields, key: string): string | string[] | undefined {
  const value = fields.raw(key);
  if (value === undefined || typeof value === 'string') return value;
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return [...(value as string[])];
  return fields.fail(key, 'must be a string or a list of strings', 'Correct the field.');
}

/** `layers_to_transform`: a number or a list of them; an empty list is none. */
function layersOf(fields: Fields): number[] | null {
  const value = fields.raw('layers_to_transform');
  if (value === undefined) return null;
  const layers: unknown[] = Array.isArray(value) ? value : [value];
  if (!layers.every((item) => Number.isInteger(item))) fields.fail('layers_to_transform', 'must be an integer or a list of integers', 'Correct the field.');
  return layers.length === 0 ? null : (layers as number[]);
}

function namesOf(fields: Fields, key: string): string[] | null {
  const value = patternsOf(fields, key) ?? [];
  const names = typeof value === 'string' ? [value] : value;
  return names.length === 0 || names[0] === '' ? null : names;
}

function numbersOf(fields: Fields, key: string): Record<string, number> {
  const object = fields.object(key) ?? {};
  return Object.fromEntries(
    Object.entries(object).map(([pattern, value]) => (typeof value === 'number' ? [pattern, value] : fields.fail(key, 'must give a number for every pattern', 'Correct the field.'))),
  );
}

function isEmpty(value: unknown): boolean {
  return (Array.isArray(value) && value.length === 0) || (isObject(value) && Object.keys(value).length === 0);
}

function unsupported(key: string, value: unknown): never {
  throw new ModelError('unsupported', { argument: `adapter_config.${key}`, value, message: 'is not computed here', remedy: 'Use a plain LoRA, rsLoRA or DoRA adapter, or merge it in Python first.' });
}
