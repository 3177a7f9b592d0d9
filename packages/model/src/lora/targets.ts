/** @file Which modules an adapter changes, by PEFT's rules (`check_target_module_exists`, `get_pattern_key`). */
import { ModelError } from '../errors.ts';
import { publishedKey } from '../safetensors/key-layout.ts';
import { loraScaling, type LoraConfig } from './config.ts';
import type { LinearModule } from './modules.ts';

/** An adapter on one module: y += scaling * B A x, A [r, inFeatures], B [outFeatures, r]. */
export interface LoraTarget extends LinearModule {
  readonly r: number;
  readonly alpha: number;
  readonly scaling: number;
}

/**
 * The modules that a config targets, in the order given.
 * @throws ModelError `invalid-adapter` when a pattern is no regular expression or nothing is targeted.
 */
export function matchTargets(modules: readonly LinearModule[], config: LoraConfig): LoraTarget[] {
  const isTarget = matcher(config.targetModules, 'targetModules');
  const isExcluded = config.excludeModules === null ? () => false : matcher(config.excludeModules, 'excludeModules');
  const rank = patternLookup(config.rankPattern, 'rankPattern');
  const alpha = patternLookup(config.alphaPattern, 'alphaPattern');
  const targets = modules
    .filter(({ name }) => isTarget(name) && !isExcluded(name))
    .map((module): LoraTarget => {
      const r = rank(module.name) ?? config.r;
      const a = alpha(module.name) ?? config.loraAlpha;
      return { ...module, r, alpha: a, scaling: loraScaling(r, a, config.useRslora) };
    });
  if (targets.length === 0) {
    throw new ModelError('invalid-adapter', { argument: 'lora.targetModules', value: config.targetModules, message: 'matches no linear layer of the model', remedy: 'Use names as q_proj, or a regular expression on whole paths as model.language_model.layers.0.self_attn.q_proj.' });
  }
  return targets;
}

/** A test of a module's path. The path of the published layout, which older adapters were trained under, counts too. */
function matcher(patterns: string | readonly string[], argument: string): (name: string) => boolean {
  if (patterns === 'all-linear' && argument === 'targetModules') return (name) => name !== 'lm_head';
  const one = typeof patterns === 'string' ? fullMatch(patterns, argument) : (name: string) => patterns.some((pattern) => name === pattern || name.endsWith(`.${pattern}`));
  return (name) => one(name) || one(publishedKey(name, 'qwen2_5_vl'));
}

function fullMatch(pattern: string, argument: string): (name: string) => boolean {
  const regex = pythonRegex(`^(?:${pattern})$`, pattern, argument);
  return (name) => regex.test(name);
}

/** The value of the first pattern that matches the end of a path. */
function patternLookup(table: Readonly<Record<string, number>>, argument: string): (name: string) => number | undefined {
  const rows = Object.entries(table).map(([pattern, value]) => ({ regex: pythonRegex(`^(?:.*\\.)?(?:${pattern})$`, pattern, argument), value }));
  return (name) => rows.find(({ regex }) => regex.test(name) || regex.test(publishedKey(name, 'qwen2_5_vl')))?.value;
}

/** A regular expression of Python's `re`, as far as the two languages agree. */
function pythonRegex(source: string, pattern: string, argument: string): RegExp {
  const translated = source.replaceAll('(?P<', '(?<').replaceAll(String.raw`\Z`, '$').replaceAll(String.raw`\A`, '^');
  try {
    return new RegExp(translated);
  } catch (cause) {
    throw new ModelError('invalid-adapter', { argument: `lora.${argument}`, value: pattern, message: 'is not a regular expression that JavaScript knows', remedy: 'Write it without inline flags, or list the modules.', cause });
  }
}
