/** @file Numbers that callers give, refused by name where they are none. */
import { ModelError } from './errors.ts';

/** Throws ModelError `invalid-input` unless `value` is an integer of at least `min`. */
export function requireInteger(argument: string, value: number, remedy: string, min = 1): void {
  if (!Number.isSafeInteger(value) || value < min) throw new ModelError('invalid-input', { argument, value, message: `must be an integer from ${min}`, remedy });
}

/** Throws ModelError `invalid-input` unless a list has `expected` entries. */
export function requireLength(argument: string, list: ArrayLike<unknown>, expected: number, remedy: string): void {
  if (list.length !== expected) throw new ModelError('invalid-input', { argument, value: list.length, message: `should have ${expected} entries`, remedy });
}
