/** @file GTAPolicy's reward: 0.5 tool + 0.5 arguments, and the rewards of ToolRL and OTC for comparison. */
import { parseResponse } from '../../core/answer.ts';
import type { ToolCall } from '../tools.ts';
import { toolType } from '../tools.ts';
import { sameValue, scoreArguments, type TextSimilarity } from './arguments.ts';

export interface GtaScoreOptions {
  /** When arguments count: only with the right name (`exact`, the paper's tables imply it), the right type, or always. */
  readonly gate?: 'exact' | 'type' | 'none';
  /** For example BERTScore; the built-in one is deterministic and needs no model. */
  readonly similarity?: TextSimilarity;
}

export interface GtaScore {
  /** 1 when the name, with its version, is right. */
  readonly tool: 0 | 1;
  /** 0 to 1. */
  readonly arguments: number;
  /** 0.5 tool + 0.5 arguments. */
  readonly accuracy: number;
  readonly format: 0 | 1;
}

const MAX_ANSWER = 20000;

/** The call in the only box after the thinking, or undefined: strict JSON with exactly `name` and `arguments`. */
export function parseToolCall(completion: string): { readonly name: string; readonly arguments: Record<string, unknown> } | undefined {
  const { answer } = parseResponse(completion);
  return answer === undefined || answer.length > MAX_ANSWER ? undefined : readToolCall(answer);
}

function readToolCall(text: string): { name: string; arguments: Record<string, unknown> } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const call = value as Record<string, unknown>;
  const args = call['arguments'];
  if (Object.keys(call).toSorted().join() !== 'arguments,name' || typeof call['name'] !== 'string') return undefined;
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return undefined;
  return { name: call['name'], arguments: args as Record<string, unknown> };
}

/** Scores a completion against one right call or several equally right ones (the best counts). */
export function scoreGtaPolicy(completion: string, golds: ToolCall | readonly ToolCall[], options: GtaScoreOptions = {}): GtaScore {
  const call = parseToolCall(completion);
  const format = call !== undefined && parseResponse(completion).wellFormed ? 1 : 0;
  let best: GtaScore = { tool: 0, arguments: 0, accuracy: 0, format };
  if (call === undefined) return best;
  const gate = options.gate ?? 'exact';
  for (const gold of Array.isArray(golds) ? (golds as readonly ToolCall[]) : [golds as ToolCall]) {
    const tool = call.name === gold.name ? 1 : 0;
    const type = toolType(call.name)?.name;
    const open = gate === 'none' || tool === 1 || (gate === 'type' && type !== undefined && type === toolType(gold.name)?.name);
    const args = open ? scoreArguments(call.arguments, gold, options.similarity) : 0;
    const accuracy = 0.5 * tool + 0.5 * args;
    if (accuracy > best.accuracy) best = { tool, arguments: args, accuracy, format };
  }
  return best;
}

/** The answer as the paper writes it. */
export function formatToolCall(call: ToolCall): string {
  return JSON.stringify({ name: call.name, arguments: call.arguments });
}

/**
 * ToolRL's correctness reward (arXiv 2504.13958) for one call: names, parameter names and parameter values by overlap,
 * scaled to [-3, 3]; plus its format reward of 0 or 1.
 */
export function toolRlReward(completion: string, gold: ToolCall): number {
  const call = parseToolCall(completion);
  const format = call !== undefined && parseResponse(completion).wellFormed ? 1 : 0;
  if (call === undefined) return format - 3;
  const name = call.name === gold.name ? 1 : 0;
  const goldKeys = Object.keys(gold.arguments);
  const keys = Object.keys(call.arguments);
  const shared = goldKeys.filter((key) => keys.includes(key));
  const union = new Set([...goldKeys, ...keys]).size;
  const keyScore = union === 0 ? 1 : shared.length / union;
  const values = shared.filter((key) => sameValue(call.arguments[key], gold.arguments[key])).length;
  const most = 1 + 1 + goldKeys.length;
  return format + (6 * (name + (name === 1 ? keyScore + values : 0))) / most - 3;
}

/** OTC's factor (arXiv 2504.14870) for a task that needs `best` calls and took `used`: 1 at the optimum, less on either side. */
export function otcFactor(used: number, best: number, c = 10): number {
  const mapped = used === 0 && best === 0 ? 0 : best === 0 ? used : (2 * best * used) / (used + best);
  if (best === 0) return Math.cos((used * Math.PI) / (2 * used + c));
  return Math.sin((mapped * Math.PI) / (2 * best));
}
