/** @file Calls in compact words: `count v2 image1 red sphere`, and how they are scored. */
import { parseResponse } from '../../core/answer.ts';
import { ATTRIBUTES } from '../../clevr/attributes.ts';
import type { GtaScore } from '../score/score.ts';
import {
  COMPACT_GTA_FIELDS, COMPACT_GTA_IMAGES, COMPACT_GTA_TOOLS, COMPACT_GTA_VERSIONS, IMAGE_VALUES, KEYWORDS, MATH_WORD, STYLES,
  type CompactGtaCallable, type CompactGtaField,
} from './words.ts';

/** A call: the right one of a question, or one that a completion makes. */
export interface CompactGtaCall {
  readonly tool: CompactGtaCallable;
  /** `v3` or `math`; none for `box`. */
  readonly version: string | undefined;
  /** The words of each argument, joined by spaces. */
  readonly arguments: Readonly<Partial<Record<CompactGtaField, string>>>;
}

const CALLABLE: readonly CompactGtaCallable[] = [...COMPACT_GTA_TOOLS, 'box'];
const VERSIONS = new Set([...Array.from({ length: COMPACT_GTA_VERSIONS }, (_, i) => `v${i + 1}`), MATH_WORD]);
const FIELD_WORDS: Readonly<Record<CompactGtaField, ReadonlySet<string>>> = {
  image: new Set(COMPACT_GTA_IMAGES),
  attribute: new Set(ATTRIBUTES),
  object: new Set(IMAGE_VALUES),
  style: new Set(STYLES),
  keyword: new Set(KEYWORDS),
};
const MAX_ANSWER = 1000;

/** The words of a call: tool, version, then the arguments in the tool's order. */
export function compactGtaCallText(call: CompactGtaCall): string {
  const words = COMPACT_GTA_FIELDS[call.tool].flatMap((field) => call.arguments[field] ?? []);
  return [call.tool, ...(call.version === undefined ? [] : [call.version]), ...words].join(' ');
}

interface ReadCall extends CompactGtaCall {
  /** Words that belong to no argument. */
  readonly extra: number;
}

function readCall(text: string): ReadCall | undefined {
  const [name, ...words] = text.split(/\s+/);
  const tool = CALLABLE.find((callable) => callable === name);
  if (tool === undefined) return undefined;
  const version = words[0] !== undefined && VERSIONS.has(words[0]) ? words.shift() : undefined;
  const args: Partial<Record<CompactGtaField, string>> = {};
  for (const field of COMPACT_GTA_FIELDS[tool]) {
    const most = field === 'object' ? words.length : 1;
    let count = 0;
    while (count < most && FIELD_WORDS[field].has(words[count] ?? '')) count++;
    if (count > 0) args[field] = words.splice(0, count).join(' ');
  }
  return { tool, version, arguments: args, extra: words.length };
}

/** The call in the only box after the thinking, complete and in order; undefined when there is none. Never throws. */
export function parseCompactGtaCall(completion: string): CompactGtaCall | undefined {
  const { answer } = parseResponse(completion);
  const call = answer === undefined || answer.length > MAX_ANSWER ? undefined : readCall(answer);
  return call !== undefined && isComplete(call) ? { tool: call.tool, version: call.version, arguments: call.arguments } : undefined;
}

function isComplete(call: ReadCall): boolean {
  return call.extra === 0 && (call.version === undefined) === (call.tool === 'box') && COMPACT_GTA_FIELDS[call.tool].every((field) => call.arguments[field] !== undefined);
}

/**
 * Scores a completion: 0.5 tool (with its version) + 0.5 share of the arguments that are right, which count only with the
 * right tool; a word that belongs to no argument counts as a wrong one. `format` asks for a complete call. Never throws.
 */
export function scoreCompactGta(completion: string, gold: CompactGtaCall): GtaScore {
  const { answer, wellFormed } = parseResponse(completion);
  const call = answer === undefined || answer.length > MAX_ANSWER ? undefined : readCall(answer);
  if (call === undefined) return { tool: 0, arguments: 0, accuracy: 0, format: 0 };
  const format = wellFormed && isComplete(call) ? 1 : 0;
  if (call.tool !== gold.tool || call.version !== gold.version) return { tool: 0, arguments: 0, accuracy: 0, format };
  const fields = COMPACT_GTA_FIELDS[gold.tool];
  const right = fields.filter((field) => call.arguments[field] === gold.arguments[field]).length;
  const share = right / (fields.length + call.extra);
  return { tool: 1, arguments: share, accuracy: 0.5 + 0.5 * share, format };
}
