/**
 * @file Columns that other trainers read, from examples and back: Hugging Face (JSONL beside images, Parquet with image
 * bytes), TRL (messages or prompt), EasyR1 (problem with <image> slots, answer, images).
 */
import type { parquetWriteBuffer } from 'hyparquet-writer';
import { parseResponse } from '../core/answer.ts';
import { DatasetError } from '../core/error.ts';
import type { Example } from '../core/example.ts';

/** An image file: its name within the dataset and, for Parquet, its encoded bytes. */
export interface ImageFile {
  readonly path: string;
  readonly bytes?: Uint8Array;
}

export type ExchangeFormat = 'plain' | 'trl-grpo' | 'trl-sft' | 'easyr1';

/** One row; `images` names files. */
export type ExchangeRow = Readonly<Record<string, unknown>> & { readonly images: readonly ImageFile[] };

export interface ExchangeOptions {
  readonly format: ExchangeFormat;
  /** Put the policy into the prompt. */
  readonly policy?: boolean;
}

function prompt(example: Example, policy: boolean): string {
  return policy ? `${example.policyText}\n\n${example.query}` : example.query;
}

/** A row for a trainer. `images` are the files of the example's images, in order (policy images first when they are shown). */
export function exchangeRow(example: Example, images: readonly ImageFile[], options: ExchangeOptions): ExchangeRow {
  const policy = options.policy ?? false;
  const text = prompt(example, policy);
  const slots = policy ? example.policyText.split('<image>').length - 1 : 0;
  const own = Math.max(0, images.length - slots);
  switch (options.format) {
    case 'plain':
      return { id: example.id, split: example.split, policy_id: example.policyId, policy_name: example.policyName, images, query: example.query, answer: example.answer, reasoning: example.reasoning };
    case 'easyr1':
      // The i-th slot is the i-th image: the policy's come first, and the question's stand before the question.
      return { problem: `${policy ? `${example.policyText}\n\n` : ''}${'<image>'.repeat(own)}${example.query}`, answer: example.answer, images };
    case 'trl-grpo':
      return { prompt: [{ role: 'user', content: text }], images, solution: example.answer };
    case 'trl-sft':
      return { messages: [{ role: 'user', content: text }, { role: 'assistant', content: example.response }], images };
    default:
      return options.format satisfies never;
  }
}

/** JSON Lines; images are written as paths. */
export function toJsonl(rows: readonly ExchangeRow[]): string {
  return rows.map((row) => `${JSON.stringify({ ...row, images: row.images.map((image) => image.path) })}\n`).join('');
}

/** Reads JSON Lines. Throws `invalidFile` with the line that is not a JSON object. */
export function fromJsonl(text: string, file = 'examples.jsonl'): ExchangeRow[] {
  return text.split('\n').flatMap((source, i): ExchangeRow[] => {
    if (source.trim() === '') return [];
    let value: unknown;
    try {
      value = JSON.parse(source);
    } catch {
      value = undefined;
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new DatasetError('invalidFile', `${file}:${i + 1} is not a JSON object; write one object a line.`);
    }
    const row = value as Record<string, unknown>;
    const images = row['images'] ?? [];
    if (!Array.isArray(images) || !images.every((name): name is string => typeof name === 'string')) {
      throw new DatasetError('invalidFile', `${file}:${i + 1}: images must be a list of file names.`);
    }
    return [{ ...row, images: images.map((path) => ({ path })) }];
  });
}

const IMAGES_SCHEMA = [
  { name: 'images', repetition_type: 'OPTIONAL', converted_type: 'LIST', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', repetition_type: 'OPTIONAL', num_children: 2 },
  { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
  { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
] as const;

function messagesSchema(name: string): readonly Record<string, unknown>[] {
  return [
    { name, repetition_type: 'OPTIONAL', converted_type: 'LIST', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', repetition_type: 'OPTIONAL', num_children: 2 },
    { name: 'role', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
    { name: 'content', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  ];
}

const features = (names: readonly string[]): string => {
  const text = { dtype: 'string', _type: 'Value' };
  const message = [{ role: text, content: text }];
  const column = (name: string): unknown => (name === 'images' ? [{ _type: 'Image' }] : name === 'messages' || name === 'prompt' ? message : text);
  return JSON.stringify({ info: { features: Object.fromEntries(names.map((name) => [name, column(name)])) } });
};

/** A Parquet file (the library is loaded when first needed) that `datasets.load_dataset("parquet", ...)` opens with an Image column. All rows must have one format. */
export async function toParquet(rows: readonly ExchangeRow[]): Promise<Uint8Array> {
  const first = rows[0];
  if (first === undefined) throw new DatasetError('invalidArgument', 'rows is empty; pass at least one row.');
  const names = Object.keys(first);
  const schema: Record<string, unknown>[] = [{ name: 'root', num_children: names.length }];
  const columnData = names.map((name) => {
    if (name === 'images') {
      schema.push(...IMAGES_SCHEMA);
      return { name, data: rows.map((row) => row.images.map((image) => ({ bytes: image.bytes ?? null, path: image.path }))) };
    }
    if (name === 'messages' || name === 'prompt') {
      schema.push(...messagesSchema(name));
      return { name, data: rows.map((row) => row[name]) };
    }
    schema.push({ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' });
    return { name, data: rows.map((row) => String(row[name] ?? '')) };
  });
  const library = await import('hyparquet-writer');
  const buffer = library.parquetWriteBuffer({
    columnData: columnData as Parameters<typeof parquetWriteBuffer>[0]['columnData'],
    schema: schema as unknown as NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>,
    kvMetadata: [{ key: 'huggingface', value: features(names) }],
    createdBy: 'trimpi',
  });
  return new Uint8Array(buffer);
}

/** Reads the rows of a Parquet file. Throws `invalidFile` when it is none. */
export async function fromParquet(bytes: Uint8Array): Promise<ExchangeRow[]> {
  const { parquetReadObjects } = await import('hyparquet');
  try {
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    const rows = await parquetReadObjects({ file, utf8: false });
    return rows.map((row) => {
      const images = Array.isArray(row['images']) ? (row['images'] as { bytes?: Uint8Array | null; path?: string | null }[]) : [];
      return { ...row, images: images.map((image) => ({ path: image.path ?? '', ...(image.bytes ? { bytes: image.bytes } : {}) })) };
    });
  } catch (cause) {
    throw new DatasetError('invalidFile', `this is not a readable Parquet file (${cause instanceof Error ? cause.message : 'unknown reason'}).`);
  }
}

/** What a row of another trainer says, as a line of `examples.jsonl`. */
export interface ImportedRow {
  readonly query: string;
  readonly answer: string;
  readonly images: readonly string[];
  readonly reasoning?: string;
}

/** Reads a row in one of the formats. Throws `invalidFile` that names the missing column. */
export function importRow(row: ExchangeRow, format: ExchangeFormat): ImportedRow {
  const images = row.images.map((image) => image.path);
  const text = (column: string): string => {
    const value = row[column];
    if (typeof value !== 'string') throw new DatasetError('invalidFile', `column ${column} is ${value === undefined ? 'missing' : 'not a text'}; rows of format ${format} need it.`);
    return value;
  };
  const turn = (column: string, role: string): string => {
    const list = row[column];
    const found = Array.isArray(list) ? (list as { role?: unknown; content?: unknown }[]).findLast((message) => message?.role === role) : undefined;
    if (typeof found?.content !== 'string') throw new DatasetError('invalidFile', `column ${column} holds no message of role ${role}; rows of format ${format} need it.`);
    return found.content;
  };
  switch (format) {
    case 'plain':
      return { query: text('query'), answer: text('answer'), images, ...(typeof row['reasoning'] === 'string' ? { reasoning: row['reasoning'] } : {}) };
    case 'easyr1':
      return { query: text('problem').replace(/^(?:<image>)+/, ''), answer: text('answer'), images };
    case 'trl-grpo':
      return { query: turn('prompt', 'user'), answer: text('solution'), images };
    case 'trl-sft': {
      const { reasoning, answer } = parseResponse(turn('messages', 'assistant'));
      if (answer === undefined) throw new DatasetError('invalidFile', 'the last assistant message holds no single \\boxed{} answer; rows of format trl-sft need one.');
      return { query: turn('messages', 'user'), answer, images, ...(reasoning === undefined ? {} : { reasoning }) };
    }
    default:
      return format satisfies never;
  }
}
