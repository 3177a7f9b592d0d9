/** @file How right the arguments of a call are: the paper's classes of fields. */
import { toolType, type ToolCall } from '../tools.ts';
import { evaluateExpression } from './expression.ts';
import { textSimilarity } from './similarity.ts';

export type TextSimilarity = (predicted: string, gold: string) => number;

const TEXT = new Set(['attribute', 'text', 'query', 'command', 'annotation', 'keywords', 'instruction']);

const NUMBER = String.raw`\s*(-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*`;
const BOX = new RegExp(`^\\s*[([]?${Array(4).fill(NUMBER).join(',')}[)\\]]?\\s*$`);
/** Longest text that is read as a box. */
const MAX_BOX = 200;

/** Four numbers of a box in any brackets, or undefined. */
export function parseBox(text: string): readonly [number, number, number, number] | undefined {
  const match = text.length > MAX_BOX ? null : BOX.exec(text);
  if (!match) return undefined;
  const [a, b, c, d] = match.slice(1).map(Number) as [number, number, number, number];
  return [a, b, c, d].every(Number.isFinite) && c > a && d > b ? [a, b, c, d] : undefined;
}

/** Intersection over union of two boxes (x1, y1, x2, y2). */
export function boxOverlap(a: readonly [number, number, number, number], b: readonly [number, number, number, number]): number {
  const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const both = width * height;
  return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both);
}

/** Whether two values of JSON are equal; the order of an object's keys does not count. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  const [x, y] = [a, b] as [Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>];
  const keys = Object.keys(x);
  return Array.isArray(a) === Array.isArray(b) && keys.length === Object.keys(y).length && keys.every((key) => Object.hasOwn(y, key) && sameValue(x[key], y[key]));
}

function exact(predicted: unknown, gold: unknown): number {
  if (typeof gold === 'number') return typeof predicted === 'string' && /^\d+$/.test(predicted.trim()) && Number(predicted) === gold ? 1 : 0;
  if (typeof gold === 'boolean') return typeof predicted === 'string' && predicted.trim().toLowerCase() === String(gold) ? 1 : 0;
  return typeof predicted === 'string' && predicted.trim() === gold ? 1 : 0;
}

/**
 * One field: exact match, text similarity, value of the expression, or box overlap, by the field's name. The gold value
 * itself scores 1 under every name, be it an expression or a box that is not read here.
 */
export function scoreField(name: string, predicted: unknown, gold: unknown, similarity: TextSimilarity = textSimilarity): number {
  if (sameValue(predicted, gold)) return 1;
  if (TEXT.has(name)) {
    const value = typeof predicted === 'string' ? similarity(predicted, String(gold)) : 0;
    return value >= 0 ? Math.min(1, value) : 0;
  }
  if (name === 'expression') {
    if (typeof predicted !== 'string' && typeof predicted !== 'number') return 0;
    if (String(predicted).trim() === String(gold).trim()) return 1;
    const a = evaluateExpression(String(predicted));
    const b = evaluateExpression(String(gold));
    return a !== undefined && b !== undefined && Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(b)) ? 1 : 0;
  }
  if (name === 'bbox') {
    const a = typeof predicted === 'string' ? parseBox(predicted) : Array.isArray(predicted) ? parseBox(predicted.join(', ')) : undefined;
    const b = parseBox(String(gold));
    return a && b ? boxOverlap(a, b) : 0;
  }
  return exact(predicted, gold);
}

/**
 * Mean over the fields of the gold call and those that the prediction adds. An added field scores 0, unless it states a
 * default (which may be null); a missing optional field is right when the gold value is its default. No fields at all score 1.
 */
export function scoreArguments(predicted: Readonly<Record<string, unknown>>, gold: ToolCall, similarity?: TextSimilarity): number {
  const defaults = new Map((toolType(gold.name)?.arguments ?? []).map((a) => [a.name, a]));
  const fields = [...new Set([...Object.keys(gold.arguments), ...Object.keys(predicted)])];
  let sum = 0;
  for (const field of fields) {
    const argument = defaults.get(field);
    const fallback = argument?.required === false ? argument.default : undefined;
    const wanted = Object.hasOwn(gold.arguments, field) ? gold.arguments[field] : fallback;
    const given = Object.hasOwn(predicted, field) ? predicted[field] : fallback;
    if (wanted === undefined || given === undefined) continue;
    sum += scoreField(field, given, wanted, similarity);
  }
  return fields.length === 0 ? 1 : sum / fields.length;
}
