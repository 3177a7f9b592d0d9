/** @file Which modules an adapter changes, by PEFT's rules (`check_target_module_exists`, `get_pattern_key`). */
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { publishedKey } from '../safetensors/key-layout.ts';
import { loraScaling, type LoraConfig } from './config.ts';
import { type LinearModule, otherModules } from './modules.ts';

/** An adapter on one module: y += scaling * B A x, A [r, inFeatures], B [outFeatures, r]. */
export interface LoraTarget extends LinearModule {
  readonly r: number;
  readonly alpha: number;
  readonly scaling: number;
}

/** Which paths the patterns of a config speak of: those in memory, or those of adapters made before transformers 4.52. */
export type PathLayout = 'memory' | 'published';

/**
 * The modules that a config targets, in the order given.
 * @throws ModelError `invalid-adapter` when a pattern is no regular expression or nothing is targeted.
 */
export function matchTargets(modules: readonly LinearModule[], config: LoraConfig, layout: PathLayout = 'memory'): LoraTarget[] {
  const pathOf = (name: string): string => (layout === 'memory' ? name : publishedKey(name, 'qwen2_5_vl'));
  const isTarget = targetTest(config);
  const isExcluded = excludedTest(config);
  const rank = patternLookup(config.rankPattern, 'rankPattern');
  const alpha = patternLookup(config.alphaPattern, 'alphaPattern');
  const targets = modules
    .filter(({ name }) => isTarget(pathOf(name)) && !isExcluded(pathOf(name)))
    .map((module): LoraTarget => {
      const r = rank(pathOf(module.name)) ?? config.r;
      const a = alpha(pathOf(module.name)) ?? config.loraAlpha;
      return { ...module, r, alpha: a, scaling: loraScaling(r, a, config.useRslora) };
    });
  if (targets.length === 0) {
    throw new ModelError('invalid-adapter', { argument: 'lora.targetModules', value: config.targetModules, message: 'matches no linear layer of the model', remedy: 'Use names as q_proj, or a regular expression on whole paths as model.language_model.layers.0.self_attn.q_proj.' });
  }
  return targets;
}

/** @throws ModelError `invalid-adapter` when a config also names what is no linear layer: PEFT refuses that, or adapts it, too. */
export function requireLinearTargets(model: ModelConfig, config: LoraConfig): void {
  if (isAllLinear(config.targetModules)) return;
  const isTarget = targetTest(config);
  const isExcluded = excludedTest(config);
  const odd = otherModules(model).find((name) => isTarget(name) && !isExcluded(name));
  if (odd !== undefined) throw new ModelError('invalid-adapter', { argument: 'lora.targetModules', value: odd, message: 'is matched, too, and is no linear layer', remedy: 'Write more of the paths that you mean, or leave it out by excludeModules.' });
}

/** The config that says the same of the paths in memory as `config` does of the published ones. */
export function inMemoryConfig(modules: readonly LinearModule[], config: LoraConfig): LoraConfig {
  const targets = matchTargets(modules, config, 'published');
  const own = (value: (t: LoraTarget) => number, usual: number) => Object.fromEntries(targets.filter((t) => value(t) !== usual).map((t) => [t.name, value(t)]));
  return {
    ...config,
    targetModules: targets.map(({ name }) => name),
    excludeModules: null,
    layersToTransform: null,
    layersPattern: null,
    rankPattern: own(({ r }) => r, config.r),
    alphaPattern: own(({ alpha }) => alpha, config.loraAlpha),
  };
}

/** Whether a path is targeted: named in full, or by its end and in one of the layers that the config is limited to. */
function targetTest(config: LoraConfig): (name: string) => boolean {
  const isTarget = matcher(config.targetModules, 'targetModules');
  const isLayer = layerTest(config);
  const named = new Set(typeof config.targetModules === 'string' ? [] : config.targetModules);
  return (name) => named.has(name) || (isTarget(name) && isLayer(name));
}

function excludedTest({ excludeModules }: LoraConfig): (name: string) => boolean {
  return excludeModules === null ? () => false : matcher(excludeModules, 'excludeModules');
}

function isAllLinear(patterns: string | readonly string[]): boolean {
  return typeof patterns === 'string' && patterns.toLowerCase() === 'all-linear';
}

/** A test of a module's path. */
function matcher(patterns: string | readonly string[], argument: string): (name: string) => boolean {
  if (isAllLinear(patterns) && argument === 'targetModules') return (name) => name !== 'lm_head';
  return typeof patterns === 'string' ? fullMatch(patterns, argument) : (name) => patterns.some((pattern) => name === pattern || name.endsWith(`.${pattern}`));
}

/** Whether a path lies in one of the layers that a config is limited to; its first number counts, or the first behind a pattern. */
function layerTest({ layersToTransform: layers, layersPattern }: LoraConfig): (name: string) => boolean {
  if (layers === null) return () => true;
  const numbers = layersPattern === null ? [/^.*?\.[^.]*\.(\d+)\./] : layersPattern.map((pattern) => pythonRegex(`^(?:.*?\\.)?(?:${pattern})\\.(\\d+)\\.`, pattern, 'layersPattern'));
  return (name) => {
    const found = numbers.map((regex) => regex.exec(name)).find((match) => match !== null);
    return found !== undefined && layers.includes(Number(found.at(-1)));
  };
}

function fullMatch(pattern: string, argument: string): (name: string) => boolean {
  // Python has the flag of a whole pattern at its beginning.
  const ignoresCase = pattern.startsWith('(?i)');
  const regex = pythonRegex(`^(?:${ignoresCase ? pattern.slice('(?i)'.length) : pattern})$`, pattern, argument, ignoresCase ? 'i' : '');
  return (name) => regex.test(name);
}

/** The value of the first pattern that matches the end of a path. */
function patternLookup(table: Readonly<Record<string, number>>, argument: string): (name: string) => number | undefined {
  const rows = Object.entries(table).map(([pattern, value]) => ({ regex: pythonRegex(`^(?:.*\\.)?(?:${pattern})$`, pattern, argument), value }));
  return (name) => rows.find(({ regex }) => regex.test(name))?.value;
}

/** A regular expression of Python's `re`, as far as the two languages agree. */
function pythonRegex(source: string, pattern: string, argument: string, flags = ''): RegExp {
  const translated = source.replaceAll('(?P<', '(?<').replaceAll(String.raw`\Z`, '$').replaceAll(String.raw`\A`, '^');
  try {
    return new RegExp(translated, flags);
  } catch (cause) {
    throw new ModelError('invalid-adapter', { argument: `lora.${argument}`, value: pattern, message: 'is not a regular expression that JavaScript knows', remedy: 'Write it without inline flags, or list the modules.', cause });
  }
}
