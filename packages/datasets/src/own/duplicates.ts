/** @file Near-duplicates between train and test: same or almost same images with almost the same question. */
import { picturePrints, type Print } from './pictures.ts';
import type { Finding, OwnPolicy, OwnRow, PolicyFolder } from './types.ts';

const SIMILAR = 0.8;
const NEAR_BITS = 3;

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
export function findNearDuplicates(policy: Pick<OwnPolicy, 'rows'>, folder: PolicyFolder, print: (name: string) => Print = picturePrints(folder)): Finding[] {
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
