/**
 * @file Your own policy: `policy.md` (with images), `examples.jsonl`, `scorer.json` and the images they name. The core reads
 * a folder through an interface, so that it works on dropped files in a page as well; `@trimpi/datasets/node` reads disks.
 */
import { formatResponse } from '../core/answer.ts';
import { DatasetError } from '../core/error.ts';
import { interleave, type Example, type Split } from '../core/example.ts';
import type { RgbImage } from '../core/image.ts';
import type { ToolCall } from '../gta/tools.ts';
import { answerMisfit, makeScorer, parseScorerSpec, type OwnAnswer, type ScorerSpec } from './scorers.ts';
import { markdownImages } from './markdown.ts';
import { linkedFile, pictureFaults, type PictureFault } from './pictures.ts';
import { boxedText, targetFault } from './target.ts';
import type { Finding, OwnPolicy, OwnRow, PolicyFolder } from './types.ts';

const FIELDS = ['id', 'split', 'images', 'image', 'query', 'answer', 'sample', 'reasoning', 'profile', 'history'];
const MAX_LINE = 1_000_000;

/** Reads and validates a folder. Problems are findings with file and line, not exceptions; rows with errors are left out. */
export function readOwnPolicy(folder: PolicyFolder): OwnPolicy {
  const findings: Finding[] = [];
  const error = (file: string, line: number, message: string): void => {
    findings.push({ file, line, severity: 'error', message });
  };
  const markdown = folder.readText('policy.md');
  if (markdown === undefined) error('policy.md', 0, 'the file is missing; write the policy there as Markdown.');
  else if (markdown.trim() === '') error('policy.md', 1, 'the policy is empty; write at least one rule.');
  const { links, strays } = markdownImages(markdown ?? '');
  const faultOf = pictureFaults(folder);
  const warned = new Set<PictureFault>();
  const checkImage = (file: string, line: number, name: string): boolean => {
    const fault = faultOf(name);
    // A warning is about the file, and said where it is named first.
    if (fault !== undefined && !warned.has(fault)) findings.push({ file, line, ...fault });
    if (fault?.severity === 'warning') warned.add(fault);
    return fault?.severity !== 'error';
  };
  const policyImages = links.map(({ name: written, line, spaced }) => {
    const name = linkedFile(folder, written);
    checkImage('policy.md', line, name);
    if (spaced) findings.push({ file: 'policy.md', line, severity: 'warning', message: `image ${JSON.stringify(name)} is read with its spaces; write ![name](<${name}>), as other programs need it.` });
    return name;
  });
  for (const { line, text } of strays) error('policy.md', line, `${JSON.stringify(text)} begins no image that is understood; write ![name](images/a.png) in one line, or !\\[ where none is meant.`);
  const scorer = readScorer(folder, error);
  return {
    name: /^#\s+(.{1,200})$/m.exec(markdown ?? '')?.[1]?.trim() ?? 'policy',
    markdown: markdown ?? '',
    policyImages,
    scorer,
    rows: readRows(folder, scorer, error, (line, name) => checkImage('examples.jsonl', line, name)),
    findings,
  };
}

function readScorer(folder: PolicyFolder, error: (file: string, line: number, message: string) => void): ScorerSpec {
  const text = folder.readText('scorer.json');
  if (text === undefined) return { type: 'exact' };
  try {
    return parseScorerSpec(JSON.parse(text));
  } catch (cause) {
    error('scorer.json', 1, cause instanceof DatasetError ? cause.message : 'this is not JSON; write an object such as {"type": "exact"}.');
    return { type: 'exact' };
  }
}

function readRows(folder: PolicyFolder, scorer: ScorerSpec, error: (file: string, line: number, message: string) => void, checkImage: (line: number, name: string) => boolean): OwnRow[] {
  const text = folder.readText('examples.jsonl');
  if (text === undefined) {
    error('examples.jsonl', 0, 'the file is missing; write one JSON object a line with images, query and answer.');
    return [];
  }
  const rows: OwnRow[] = [];
  // A function's scores are looked at where it can be imported: scoreTargets.
  const score = scorer.type === 'module' ? undefined : makeScorer(scorer);
  const ids = new Map<string, number>();
  text.split('\n').forEach((source, i) => {
    const line = i + 1;
    if (source.trim() === '') return;
    const row = readRow(source, line, (message) => error('examples.jsonl', line, message), (name) => checkImage(line, name));
    if (row === undefined) return;
    const misfit = answerMisfit(scorer, row.answer) ?? (score === undefined ? undefined : targetFault(row, scorer, score));
    if (misfit !== undefined) {
      error('examples.jsonl', line, misfit);
      return;
    }
    const before = ids.get(row.id);
    if (before !== undefined) {
      error('examples.jsonl', line, `id ${JSON.stringify(row.id)} is used in line ${before} already; ids must differ.`);
      return;
    }
    ids.set(row.id, line);
    rows.push(row);
  });
  if (rows.length === 0) error('examples.jsonl', 0, 'there is no usable example; write at least one.');
  return rows;
}

function readRow(source: string, line: number, error: (message: string) => void, checkImage: (name: string) => boolean): OwnRow | undefined {
  let bad = false;
  const fail = (message: string): void => {
    bad = true;
    error(message);
  };
  let value: unknown;
  try {
    value = source.length > MAX_LINE ? undefined : JSON.parse(source);
  } catch (cause) {
    fail(`this line is not JSON (${cause instanceof Error ? cause.message.slice(0, 80) : 'unreadable'}).`);
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    fail(source.length > MAX_LINE ? `this line is longer than ${MAX_LINE} characters.` : 'this line is not a JSON object.');
    return undefined;
  }
  const v = value as Record<string, unknown>;
  for (const key of Object.keys(v)) if (!FIELDS.includes(key)) fail(`field ${JSON.stringify(key)} is unknown; use ${FIELDS.join(', ')}.`);
  const images = v['images'] ?? (v['image'] === undefined ? [] : [v['image']]);
  const names = Array.isArray(images) && images.every((name): name is string => typeof name === 'string') ? images : undefined;
  if (names === undefined) fail('images must be a list of file names.');
  for (const name of names ?? []) if (!checkImage(name)) bad = true;
  const text = (key: string, required: boolean): string | undefined => {
    const item = v[key];
    if (item === undefined || item === null) {
      if (required) fail(`${key} is missing.`);
      return undefined;
    }
    if (typeof item !== 'string' || (required && item.trim() === '')) {
      fail(`${key} must be ${required ? 'a text that is not empty' : 'a text'}.`);
      return undefined;
    }
    return item;
  };
  const query = text('query', true);
  const answer = readAnswer(v['answer'], fail);
  const sample = text('sample', false);
  const reasoning = text('reasoning', false);
  const split = v['split'] ?? 'train';
  if (split !== 'train' && split !== 'test') fail(`split is ${JSON.stringify(split)}; write "train" or "test".`);
  const { profile, history } = v;
  if (profile !== undefined && (typeof profile !== 'object' || profile === null || Array.isArray(profile))) fail('profile must be an object.');
  if (history !== undefined && !Array.isArray(history)) fail('history must be a list.');
  const id = v['id'] ?? `line-${line}`;
  if (typeof id !== 'string' && typeof id !== 'number') fail('id must be a text or a number.');
  if (bad || query === undefined || answer === undefined) return undefined;
  return {
    line, id: String(id), split: split as Split, images: names ?? [], query, answer, sample, reasoning,
    profile: profile as OwnRow['profile'], history: history as OwnRow['history'],
  };
}

function readAnswer(value: unknown, fail: (message: string) => void): OwnAnswer | undefined {
  if (typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))) return value;
  if (Array.isArray(value) && value.every((item): item is string => typeof item === 'string')) return value;
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const call = value as Record<string, unknown>;
    if (typeof call['name'] === 'string' && typeof call['arguments'] === 'object' && call['arguments'] !== null) return value as ToolCall;
  }
  fail(value === undefined ? 'answer is missing.' : 'answer must be a text, a number, a list of texts, or a tool call {"name", "arguments"}.');
  return undefined;
}

/** The rows as examples. `load` gives the pixels of an image file (a library decodes JPEG; decodePng reads PNG). */
export function ownExamples(policy: OwnPolicy, load: (name: string) => RgbImage): Example[] {
  let parts: Example['policyParts'] | undefined;
  const policyText = withSlots(policy.markdown);
  return policy.rows.map((row) => {
    const answer = boxedText(row, policy.scorer);
    const context = [
      ...(row.profile === undefined ? [] : [`### User Profile ###\n${Object.entries(row.profile).map(([k, v]) => `- ${k}: ${String(v)}`).join('\n')}`]),
      ...(row.history === undefined ? [] : [`### Interaction History ###\n${row.history.map((turn) => JSON.stringify(turn)).join('\n')}`]),
    ];
    const query = [...context, row.query].join('\n\n');
    return {
      id: row.id, split: row.split, policyId: policy.name, policyName: policy.name,
      get images() {
        return row.images.map(load);
      },
      query, answer,
      reasoning: row.reasoning ?? '',
      response: formatResponse(row.reasoning ?? '', answer),
      policyText,
      get policyParts() {
        parts ??= interleave(policyText, policy.policyImages.map(load));
        return parts;
      },
    };
  });
}

/** The text with `<image>` in place of each image. */
function withSlots(markdown: string): string {
  let at = 0;
  const texts = markdownImages(markdown).links.map(({ start, end }) => {
    const text = markdown.slice(at, start);
    at = end;
    return text;
  });
  return [...texts, markdown.slice(at)].join('<image>');
}
