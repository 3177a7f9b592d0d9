/** @file What training writes as the response of a row, and whether the policy's own scorer takes it. */
import { formatResponse, parseResponse } from '../core/answer.ts';
import { formatToolCall } from '../gta/score/score.ts';
import type { ToolCall } from '../gta/tools.ts';
import { MAX_ANSWER, MAX_MATCHED, separatorOf, type OwnAnswer, type Scorer, type ScorerSpec } from './scorers.ts';
import type { Finding, OwnPolicy, OwnRow } from './types.ts';

/** An answer as a text; the items of a list stand between the separators that the scorer reads. */
export function answerText(answer: OwnAnswer, scorer: ScorerSpec = { type: 'exact' }): string {
  if (typeof answer === 'string') return answer;
  if (typeof answer === 'number') return String(answer);
  if (!Array.isArray(answer)) return formatToolCall(answer as ToolCall);
  const separator = separatorOf(scorer);
  return (answer as readonly string[]).join(/\s$/.test(separator) ? separator : `${separator} `);
}

/** What belongs in the box of a row: its sample, or else its answer. */
export function boxedText(row: Pick<OwnRow, 'answer' | 'sample'>, scorer: ScorerSpec): string {
  return row.sample ?? answerText(row.answer, scorer);
}

/** Why the response that training would write for a row is none that `score` takes as right, and what to do; undefined when it is. */
export function targetFault(row: Pick<OwnRow, 'answer' | 'sample' | 'reasoning'>, spec: ScorerSpec, score: Scorer): string | undefined {
  const text = boxedText(row, spec);
  const field = row.sample === undefined ? 'answer' : 'sample';
  const boxed = parseResponse(formatResponse('', text));
  if (!boxed.wellFormed || boxed.answer !== text.trim()) return `${field} ${shown(text)} cannot stand in \\boxed{}; its braces must balance, and it must hold neither \\boxed{ nor think tags.`;
  const response = formatResponse(row.reasoning ?? '', text);
  if (parseResponse(response).answer !== text.trim() || !parseResponse(response).wellFormed) return 'reasoning holds <think> or </think>; take the tags out, they are put around it.';
  const { accuracy } = score(response, row.answer);
  if (accuracy === 1) return undefined;
  return reason(row, spec, text) ?? `its own response, with ${shown(text)} in the box, gets ${accuracy} of 1 from the ${spec.type} scorer; correct answer or scorer.json, or write a "sample" that is right.`;
}

function reason({ answer, sample }: Pick<OwnRow, 'answer' | 'sample'>, spec: ScorerSpec, text: string): string | undefined {
  if (spec.type === 'regex') {
    if (sample === undefined) return `answer is a pattern that is no right answer itself; write a "sample" beside it, a text that it matches (of at most ${MAX_MATCHED} characters): training puts that in the box.`;
    return text.length > MAX_MATCHED ? `sample has ${text.length} characters; write one of at most ${MAX_MATCHED}.` : `sample ${shown(text)} is not matched by the pattern ${shown(String(answer))}; a pattern has to match the whole answer.`;
  }
  if (spec.type !== 'module' && spec.type !== 'toolCall' && text.length > MAX_ANSWER) return `answer has ${text.length} characters; scorers read at most ${MAX_ANSWER}.`;
  if (spec.type === 'set' && sample === undefined && Array.isArray(answer)) {
    const separator = separatorOf(spec);
    const split = (answer as readonly string[]).find((item) => item.includes(separator));
    if (split !== undefined) return `item ${shown(split)} holds ${JSON.stringify(separator)}, which stands between items; set "separator" in scorer.json to a text that no item holds, such as ";".`;
  }
  return undefined;
}

/** Warnings for rows whose own response gets less than full marks: for the function of a module scorer, which `readOwnPolicy` cannot call. */
export function scoreTargets({ rows, scorer }: Pick<OwnPolicy, 'rows' | 'scorer'>, score: Scorer): Finding[] {
  return rows.flatMap((row): Finding[] => {
    const message = faultOrThrown(row, scorer, score);
    return message === undefined ? [] : [{ file: 'examples.jsonl', line: row.line, severity: 'warning', message }];
  });
}

function faultOrThrown(row: OwnRow, spec: ScorerSpec, score: Scorer): string | undefined {
  try {
    return targetFault(row, spec, score);
  } catch (cause) {
    return `the scorer throws on its own response: ${cause instanceof Error ? cause.message : String(cause)}; a score must be a number from 0 to 1.`;
  }
}

const shown = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}\u2026` : text);
