/** @file Scorers for your own policy, described by data: exact, set, number, tool call, regular expression, or a function. */
import { parseResponse } from '../core/answer.ts';
import { DatasetError } from '../core/error.ts';
import { scoreGtaPolicy } from '../gta/score/score.ts';
import type { ToolCall } from '../gta/tools.ts';

export type Score = { readonly accuracy: number; readonly format: 0 | 1 };

/** The answer of a row: a text, a list (set), a number, or a tool call. */
export type OwnAnswer = string | number | readonly string[] | ToolCall;

export type ScorerSpec =
  | { readonly type: 'exact'; readonly ignoreCase?: boolean }
  | { readonly type: 'set'; readonly separator?: string }
  | { readonly type: 'number'; readonly tolerance?: number; readonly relative?: number }
  | { readonly type: 'toolCall' }
  | { readonly type: 'regex'; readonly flags?: string }
  | { readonly type: 'module'; readonly module: string; readonly function: string };

export type Scorer = (completion: string, answer: OwnAnswer) => Score;
/** A module's function: accuracy from 0 to 1 for a boxed answer (undefined when there is none) and the right one. */
export type ScorerFunction = (predicted: string | undefined, answer: OwnAnswer, completion: string) => number;

/** The fields of each type. */
const FIELDS = {
  exact: ['ignoreCase'], set: ['separator'], number: ['tolerance', 'relative'], toolCall: [], regex: ['flags'], module: ['module', 'function'],
} as const satisfies Record<ScorerSpec['type'], readonly string[]>;
const TYPES = Object.keys(FIELDS) as ScorerSpec['type'][];
/** Longest answer that is read. */
export const MAX_ANSWER = 10000;
/** Longest text that a pattern is tried on: a bound on backtracking. */
export const MAX_MATCHED = 500;
const SEPARATOR = ',';

function fail(message: string): never {
  throw new DatasetError('invalidFile', `scorer: ${message}`);
}

/** Checks a scorer description. Throws `invalidFile` that names the field. */
export function parseScorerSpec(value: unknown): ScorerSpec {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('write an object such as {"type": "exact"}.');
  const v = value as Record<string, unknown>;
  const type = TYPES.find((t) => t === v['type']);
  if (type === undefined) return fail(`type is ${JSON.stringify(v['type']) ?? 'missing'}; write one of ${TYPES.join(', ')}.`);
  const known: readonly string[] = ['type', ...FIELDS[type]];
  const unknown = Object.keys(v).find((name) => !known.includes(name));
  if (unknown !== undefined) fail(`field ${JSON.stringify(unknown)} is unknown for type ${type}; use ${known.join(', ')}.`);
  const optional = (name: string, kind: 'string' | 'number' | 'boolean'): void => {
    if (v[name] !== undefined && typeof v[name] !== kind) fail(`${name} is ${JSON.stringify(v[name])}; write a ${kind}.`);
  };
  optional('ignoreCase', 'boolean');
  optional('separator', 'string');
  optional('tolerance', 'number');
  optional('relative', 'number');
  optional('flags', 'string');
  if (v['separator'] === '') fail('separator is empty; write at least one character.');
  if (type === 'regex' && typeof v['flags'] === 'string' && !/^[imsu]*$/.test(v['flags'])) fail(`flags is ${JSON.stringify(v['flags'])}; use letters of "imsu".`);
  if (type === 'module' && (typeof v['module'] !== 'string' || typeof v['function'] !== 'string')) fail('a module scorer needs "module" (a file) and "function" (an exported name).');
  return { ...v, type } as ScorerSpec;
}

const NUMBER = /^[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][+-]?\d{1,3})?$/;

/** A number as people write it (thousands separated by commas, a trailing per cent sign is dropped), or undefined. */
export function readNumber(text: string): number | undefined {
  const body = text.trim().replace(/\s*%$/, '').replace(/^\$\s*/, '');
  if (!NUMBER.test(body) || !/\d/.test(body)) return undefined;
  const value = Number(body.replaceAll(',', ''));
  return Number.isFinite(value) ? value : undefined;
}

/** What stands between the items of a set. */
export function separatorOf(spec: ScorerSpec): string {
  return spec.type === 'set' ? (spec.separator ?? SEPARATOR) : SEPARATOR;
}

const parts = (items: readonly string[]): string => JSON.stringify([...new Set(items.map((item) => item.trim()).filter((item) => item !== ''))].toSorted());
/** The whole-answer pattern of a regex row, or undefined when it does not compile. */
export function compilePattern(pattern: string, flags = ''): RegExp | undefined {
  try {
    return new RegExp(`^(?:${pattern})$`, flags);
  } catch {
    return undefined;
  }
}

/** Why an answer does not suit a scorer, or undefined when it does. */
export function answerMisfit(spec: ScorerSpec, answer: OwnAnswer): string | undefined {
  switch (spec.type) {
    case 'number':
      return typeof answer === 'number' || (typeof answer === 'string' && readNumber(answer) !== undefined) ? undefined : 'the number scorer needs a number as answer.';
    case 'toolCall':
      return typeof answer === 'object' && !Array.isArray(answer) ? undefined : 'the toolCall scorer needs an answer {"name", "arguments"}.';
    case 'regex':
      return typeof answer === 'string' && compilePattern(answer, spec.flags) !== undefined ? undefined : 'the regex scorer needs a pattern that compiles as answer.';
    case 'exact':
      return typeof answer === 'object' ? 'the exact scorer needs a text or a number as answer.' : undefined;
    case 'set':
      return typeof answer === 'string' || Array.isArray(answer) ? undefined : 'the set scorer needs a list of texts as answer.';
    case 'module':
      return undefined;
    default:
      return spec satisfies never;
  }
}

function accuracy(spec: ScorerSpec, predicted: string, answer: OwnAnswer): number {
  switch (spec.type) {
    case 'exact': {
      const fold = (text: string): string => (spec.ignoreCase === true ? text.trim().toLowerCase() : text.trim()).replace(/\s+/g, ' ');
      return fold(predicted) === fold(String(answer)) ? 1 : 0;
    }
    case 'set': {
      const separator = separatorOf(spec);
      const gold = Array.isArray(answer) ? (answer as readonly string[]) : String(answer).split(separator);
      return parts(predicted.split(separator)) === parts(gold) ? 1 : 0;
    }
    case 'number': {
      const a = readNumber(predicted);
      const b = typeof answer === 'number' ? answer : readNumber(String(answer));
      return a !== undefined && b !== undefined && Math.abs(a - b) <= Math.max(spec.tolerance ?? 0, (spec.relative ?? 1e-9) * Math.abs(b)) ? 1 : 0;
    }
    case 'regex':
      return predicted.length <= MAX_MATCHED && compilePattern(String(answer), spec.flags)?.test(predicted.trim()) === true ? 1 : 0;
    case 'toolCall':
    case 'module':
      return 0;
    default:
      return spec satisfies never;
  }
}

/** A scorer from its description; `custom` is the function of a module scorer. Never throws on a completion. */
export function makeScorer(spec: ScorerSpec, custom?: ScorerFunction): Scorer {
  if (spec.type === 'module' && custom === undefined) {
    throw new DatasetError('invalidArgument', `scorer: the function ${spec.function} of ${spec.module} is missing; import it and pass it as the second argument.`);
  }
  return (completion, answer) => {
    const parsed = parseResponse(completion);
    const format = parsed.wellFormed ? 1 : 0;
    if (spec.type === 'toolCall') {
      const score = scoreGtaPolicy(completion, answer as ToolCall);
      return { accuracy: score.accuracy, format: score.format };
    }
    if (spec.type === 'module') {
      const value = custom?.(parsed.answer, answer, completion) ?? 0;
      return { accuracy: value >= 0 && value <= 1 ? value : 0, format };
    }
    if (parsed.answer === undefined || parsed.answer.length > MAX_ANSWER) return { accuracy: 0, format };
    return { accuracy: accuracy(spec, parsed.answer, answer), format };
  };
}
