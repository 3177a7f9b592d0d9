/** @file Reading back what was written, and checking it. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { labelByProgram } from '../clevr/program/label.ts';
import { parseScene } from '../clevr/scene/schema.ts';
import type { DecisionNode } from '../clevr/policy/types.ts';
import type { Scene } from '../clevr/scene/types.ts';
import { DatasetError } from '../core/error.ts';
import { scoreGtaPolicy } from '../gta/score/score.ts';
import type { ToolCall } from '../gta/tools.ts';
import type { Finding } from '../own/types.ts';

/** A line of `examples.jsonl`. */
export interface StoredExample {
  readonly line: number;
  readonly id: string;
  readonly split: string;
  readonly query: string;
  readonly answer: string;
  readonly images: readonly string[];
  readonly row: Readonly<Record<string, unknown>>;
}

export interface CheckReport {
  readonly kind: string;
  readonly examples: Readonly<Record<string, number>>;
  readonly findings: readonly Finding[];
  readonly ok: boolean;
}

function text(dir: string, name: string): string {
  const path = join(dir, name);
  if (!existsSync(path)) throw new DatasetError('invalidFile', `${path} is missing; write the dataset again.`);
  return readFileSync(path, 'utf8');
}

/** The examples of a folder, line by line. Throws `invalidFile` with file and line for a line that is none. */
export async function* readExamples(dir: string): AsyncGenerator<StoredExample> {
  const path = join(dir, 'examples.jsonl');
  if (!existsSync(path)) throw new DatasetError('invalidFile', `${path} is missing; write the dataset again.`);
  let line = 0;
  for await (const source of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    line++;
    if (source.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(source);
    } catch {
      value = undefined;
    }
    const row = typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
    if (row === undefined || typeof row['query'] !== 'string' || typeof row['answer'] !== 'string') {
      throw new DatasetError('invalidFile', `${path}:${line} is not an example; it needs at least a query and an answer.`);
    }
    const images = Array.isArray(row['images']) ? row['images'].filter((name): name is string => typeof name === 'string') : [];
    yield { line, id: String(row['id'] ?? line), split: String(row['split'] ?? 'train'), query: row['query'], answer: row['answer'], images, row };
  }
}

/** The first `count` examples of a folder. */
export async function showExamples(dir: string, count = 3): Promise<StoredExample[]> {
  const out: StoredExample[] = [];
  for await (const example of readExamples(dir)) {
    if (out.length >= count) break;
    out.push(example);
  }
  return out;
}

/**
 * Checks a written dataset: the hash of every file, the label of every ClevrPolicy example by CLEVR programs on the stored
 * scenes, that golds of GTAPolicy score full marks, that images exist, and that train and test share no scene or episode.
 */
export async function checkDataset(dir: string, onProgress?: (done: number) => void): Promise<CheckReport> {
  const findings: Finding[] = [];
  const error = (file: string, line: number, message: string): void => {
    findings.push({ file, line, severity: 'error', message });
  };
  const manifest = parseJson(text(dir, 'manifest.json'), 'manifest.json') as { kind?: string; files?: Record<string, string> };
  for (const [name, hash] of Object.entries(manifest.files ?? {})) {
    const path = join(dir, name);
    if (!existsSync(path)) error(name, 0, 'the file is missing.');
    else if (createHash('sha256').update(readFileSync(path)).digest('hex') !== hash) error(name, 0, 'the file was changed after it was written.');
  }
  const trees = new Map<string, DecisionNode>();
  const scenes = new Map<string, Scene>();
  if (manifest.kind === 'clevr-policy') {
    const policies = parseJson(text(dir, 'policies.json'), 'policies.json') as { policies?: { id: string; tree: DecisionNode }[] };
    for (const { id, tree } of policies.policies ?? []) trees.set(id, tree);
    const file = parseJson(text(dir, 'scenes.json'), 'scenes.json') as { scenes?: unknown[] };
    for (const [i, value] of (file.scenes ?? []).entries()) {
      try {
        const scene = parseScene(value, `scenes[${i}]`);
        scenes.set(scene.image_filename, scene);
      } catch (cause) {
        error('scenes.json', i + 1, cause instanceof Error ? cause.message : String(cause));
      }
    }
  }
  const counts: Record<string, number> = {};
  const groups = new Map<string, string>();
  let done = 0;
  for await (const example of readExamples(dir)) {
    counts[example.split] = (counts[example.split] ?? 0) + 1;
    const at = (message: string): void => error('examples.jsonl', example.line, message);
    let group = String(example.row['episode'] ?? example.id);
    if (manifest.kind === 'clevr-policy') {
      const scene = scenes.get(String(example.row['scene']));
      const root = trees.get(String(example.row['policy_id']));
      if (!scene || !root) at('its scene or policy is missing.');
      else {
        const label = labelByProgram({ root }, scene);
        if (label.replace('Case ', '') !== example.answer.replace(/^(?:Case |case)/, '')) at(`the answer is ${example.answer}, but the policy gives ${label}.`);
        group = JSON.stringify(scene.objects);
      }
    } else if (manifest.kind === 'gta-policy') {
      if (scoreGtaPolicy(`<think></think>\\boxed{${example.answer}}`, (example.row['golds'] ?? []) as ToolCall[]).accuracy !== 1) at('the answer is not among its golds.');
    }
    const shared = [group, ...(typeof example.row['user_query'] === 'string' ? [`wording ${example.row['user_query'].replace(/\d+/g, '#')}`] : [])];
    for (const key of shared) {
      const other = groups.get(key);
      if (other !== undefined && other !== example.split) at(`train and test share this ${key === group ? 'scene or episode' : 'wording of the question'}.`);
      groups.set(key, example.split);
    }
    if (manifest.files?.['contact-sheet.png'] !== undefined) for (const name of example.images) if (!existsSync(join(dir, name))) at(`image ${name} is missing.`);
    onProgress?.(++done);
  }
  return { kind: manifest.kind ?? 'unknown', examples: counts, findings, ok: findings.length === 0 };
}

function parseJson(source: string, name: string): object {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null) throw new DatasetError('invalidFile', `${name} is no JSON object; write the dataset again.`);
  return value;
}
