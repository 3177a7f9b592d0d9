/** @file What callers give, refused by name where it is none. */
import { ModelError } from './errors.ts';

/** Throws ModelError `invalid-input` unless `value` is an integer of at least `min`. */
export function requireInteger(argument: string, value: number, remedy: string, min = 1): void {
  if (!Number.isSafeInteger(value) || value < min) throw new ModelError('invalid-input', { argument, value, message: `must be an integer from ${min}`, remedy });
}

/** Throws ModelError `invalid-input` unless a list has `expected` entries. */
export function requireLength(argument: string, list: ArrayLike<unknown>, expected: number, remedy: string): void {
  if (list.length !== expected) throw new ModelError('invalid-input', { argument, value: list.length, message: `should have ${expected} entries`, remedy });
}

/** The one of some names that the fewest changed letters make of a misspelt one. */
export function nearest(name: string, names: readonly string[]): string {
  const distance = (other: string): number => {
    let row = Array.from({ length: other.length + 1 }, (_, j) => j);
    for (let i = 1; i <= name.length; i++) {
      const next = [i];
      for (let j = 1; j <= other.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + Number(name[i - 1]!.toLowerCase() !== other[j - 1]!.toLowerCase())));
      row = next;
    }
    return row[other.length]!;
  };
  return names.toSorted((a, b) => distance(a) - distance(b))[0]!;
}
