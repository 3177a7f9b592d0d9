/** @file Near-duplicates between train and test: same or almost same images with almost the same question. */
import { sha256Hex } from '../files/hash.ts';
import { decodePng } from '../files/png.ts';
import type { RgbImage } from '../core/image.ts';
import type { Finding, OwnPolicy, OwnRow, PolicyFolder } from './types.ts';

const SIMILAR = 0.8;
const NEAR_BITS = 3;

/** 64 bits: whether each of 8x8 areas is brighter than its right neighbour. */
export function differenceHash(image: RgbImage): Uint8Array {
  const mean = (cx: number, cy: number): number => {
    const x1 = Math.floor((cx * image.width) / 9);
    const x2 = Math.max(x1 + 1, Math.floor(((cx + 1) * image.width) / 9));
    const y1 = Math.floor((cy * image.height) / 8);
    const y2 = Math.max(y1 + 1, Math.floor(((cy + 1) * image.height) / 8));
    let sum = 0;
    for (let y = y1; y < y2; y++) for (let x = x1; x < x2; x++) for (let k = 0; k < 3; k++) sum += image.rgb[(y * image.width + x) * 3 + k] ?? 0;
    return sum / ((x2 - x1) * (y2 - y1));
  };
  const bits = new Uint8Array(64);
  for (let y = 0; y < 8; y++) {
    const row = Array.from({ length: 9 }, (_, x) => mean(x, y));
    for (let x = 0; x < 8; x++) bits[y * 8 + x] = (row[x] as number) > (row[x + 1] as number) ? 1 : 0;
  }
  return bits;
}

interface Print {
  readonly hash: string;
  readonly bits: Uint8Array | undefined;
}

function fingerprint(bytes: Uint8Array): Print {
  const hash = sha256Hex(bytes);
  try {
    return { hash, bits: bytes[0] === 0x89 ? differenceHash(decodePng(bytes)) : undefined };
  } catch {
    return { hash, bits: undefined };
  }
}

function alike(a: Print, b: Print): boolean {
  if (a.hash === b.hash) return true;
  if (a.bits === undefined || b.bits === undefined) return false;
  let different = 0;
  for (let i = 0; i < 64; i++) if (a.bits[i] !== b.bits[i]) different++;
  return different <= NEAR_BITS;
}

function wordSet(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []);
}

function overlap(a: Set<string>, b: Set<string>): number {
  let both = 0;
  for (const word of a) if (b.has(word)) both++;
  const either = a.size + b.size - both;
  return either === 0 ? 1 : both / either;
}

/**
 * Warnings for test rows that almost repeat a train row: word overlap of the questions of at least 0.8 and, image by
 * image, equal bytes or nearly equal pictures (PNG). Rows without images are compared by question and answer.
 */
export function findNearDuplicates(policy: Pick<OwnPolicy, 'rows'>, folder: PolicyFolder): Finding[] {
  const prints = new Map<string, Print>();
  const print = (name: string): Print => {
    const known = prints.get(name);
    if (known) return known;
    const made = fingerprint(folder.readBytes(name) ?? new Uint8Array());
    prints.set(name, made);
    return made;
  };
  const rows = policy.rows.map((row) => ({ row, words: wordSet(row.query), prints: row.images.map(print) }));
  const train = rows.filter((item) => item.row.split === 'train');
  return rows.flatMap(({ row, words, prints: own }): Finding[] => {
    if (row.split !== 'test') return [];
    const twin = train.find(
      (other) =>
        other.prints.length === own.length &&
        own.every((p, i) => alike(p, other.prints[i] as Print)) &&
        overlap(words, other.words) >= SIMILAR &&
        (own.length > 0 || sameAnswer(row, other.row)),
    );
    return twin === undefined ? [] : [{ file: 'examples.jsonl', line: row.line, severity: 'warning', message: `this test example almost repeats the train example in line ${twin.row.line}; remove one of them.` }];
  });
}

function sameAnswer(a: OwnRow, b: OwnRow): boolean {
  return JSON.stringify(a.answer) === JSON.stringify(b.answer);
}
