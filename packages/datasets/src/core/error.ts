/** Codes of {@link DatasetError}. */
export type DatasetErrorCode =
  | 'invalidArgument'
  | 'invalidScene'
  | 'invalidProgram'
  | 'invalidFile'
  | 'unwritable'
  | 'unsatisfiable'
  | 'unreachableLeaf';

/** The one error class of this package: `code` for programs; the message names argument, value and remedy. */
export class DatasetError extends Error {
  readonly code: DatasetErrorCode;

  constructor(code: DatasetErrorCode, message: string) {
    super(message);
    this.name = 'DatasetError';
    this.code = code;
  }
}

/** Throws `invalidArgument` unless `value` is an integer in `[low, high]`; returns it. */
export function requireInteger(name: string, value: unknown, low: number, high: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
    throw new DatasetError('invalidArgument', `${name} is ${String(value)}; pass an integer from ${low} to ${high}.`);
  }
  return value;
}

/** Throws `invalidArgument` unless `value` is one of `allowed`; returns it. */
export function requireOneOf<T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((item) => item === value);
  if (found === undefined) {
    throw new DatasetError('invalidArgument', `${name} is ${JSON.stringify(value)}; pass one of ${allowed.join(', ')}.`);
  }
  return found;
}
