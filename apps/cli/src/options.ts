/** @file Reading option values, with messages that say what is right. */
import { InvalidArgumentError } from 'commander';

/** A whole number of a range, for `option(...)`. */
export function integer(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^[+-]?\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`Give a whole number from ${low}${high === Number.MAX_SAFE_INTEGER ? '' : ` to ${high}`}.`);
    }
    return value;
  };
}

/** A number of a range (`high` included). */
export function number(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= low && value <= high)) throw new InvalidArgumentError(`Give a number from ${low} to ${high}.`);
    return value;
  };
}

/** One of several words; a wrong one is answered with the nearest. */
export function oneOf<T extends string>(...words: readonly T[]): (text: string) => T {
  return (text) => {
    const found = words.find((word) => word === text.toLowerCase());
    if (found !== undefined) return found;
    const near = nearest(text.toLowerCase(), words);
    throw new InvalidArgumentError(`Allowed are ${words.join(', ')}.${near === undefined ? '' : ` Did you mean ${near}?`}`);
  };
}

/** Several whole numbers with commas between them. */
export function integers(low: number, high: number): (text: string) => number[] {
  const one = integer(low, high);
  return (text) => text.split(',').map((part) => one(part.trim()));
}

/** An option that may be given several times. */
export function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

/** The word with the fewest edits, if they are fewer than half of its letters. */
export function nearest(text: string, words: readonly string[]): string | undefined {
  const ranked = words.map((word) => ({ word, edits: editDistance(text, word) })).filter(({ word, edits }) => edits <= word.length / 2);
  return ranked.toSorted((a, b) => a.edits - b.edits)[0]?.word;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

/** Of the commands that open a model for prompts that are not known yet. */
export const POSITIONS = ['--max-positions <n>', "tokens of a prompt and its answer together, at most the checkpoint's max_position_embeddings (default: that, or 8192 where it is more)", integer(1)] as const;

/** The examples at the end of a command's help. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`;
}
