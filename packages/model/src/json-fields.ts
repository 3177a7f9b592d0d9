/**
 * @file Typed access to the fields of parsed JSON. Every getter names the field in its error, so that a bad
 * configuration file says which line to mend.
 */
import { ModelError, type ModelErrorCode } from './errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses JSON text to an object. `name` is what the error calls it. */
export function parseJsonObject(text: string, name: string, code: ModelErrorCode): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ModelError(code, { argument: name, value: text, message: 'is not JSON', remedy: 'Check that the file is complete.', cause });
  }
  if (!isObject(value)) {
    throw new ModelError(code, { argument: name, value, message: 'must be a JSON object', remedy: 'Check that this is the right file.' });
  }
  return value;
}

/** Largest size of any one dimension: keeps every product of two of them exact in a float64. */
const MAX_DIMENSION = 2 ** 24;

/** A reader of one JSON object's fields. A field that is absent or null takes the fallback; without one it is an error. */
export class Fields {
  readonly #object: JsonObject;
  readonly #path: string;
  readonly #code: ModelErrorCode;

  constructor(object: JsonObject, path: string, code: ModelErrorCode = 'invalid-config') {
    this.#object = object;
    this.#path = path;
    this.#code = code;
  }

  fail(key: string, message: string, remedy: string): never {
    throw new ModelError(this.#code, { argument: `${this.#path}.${key}`, value: this.#object[key], message, remedy });
  }

  /** The raw value of the first of the keys that is present and not null. */
  raw(...keys: readonly string[]): unknown {
    for (const key of keys) {
      if (Object.hasOwn(this.#object, key)) {
        const value = this.#object[key];
        if (value !== null && value !== undefined) return value;
      }
    }
    return undefined;
  }

  integer(key: string, options: { fallback?: number; min?: number; max?: number } = {}): number {
    const { fallback, min = 1, max = MAX_DIMENSION } = options;
    const value = this.raw(key) ?? fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      this.fail(key, `must be an integer in ${min}..${max}`, 'Correct the field.');
    }
    // JSON knows a -0.
    return value + 0;
  }

  number(key: string, options: { fallback?: number; min: number; max: number }): number {
    const value = this.raw(key) ?? options.fallback;
    if (typeof value !== 'number' || !(value >= options.min && value <= options.max)) {
      this.fail(key, `must be a number in ${options.min}..${options.max}`, 'Correct the field.');
    }
    return value;
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== 'boolean') this.fail(key, 'must be true or false', 'Correct the field.');
    return value;
  }

  string(key: string, fallback?: string): string {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== 'string') this.fail(key, 'must be a string', 'Correct the field.');
    return value;
  }

  /** One of a fixed set of strings. */
  oneOf<const T extends string>(key: string, allowed: readonly T[], fallback?: T): T {
    const value = this.raw(key) ?? fallback;
    const found = allowed.find((item) => item === value);
    if (found === undefined) this.fail(key, `must be one of ${allowed.join(', ')}`, 'Use a checkpoint with one of these.');
    return found;
  }

  integers(key: string, options: { fallback?: readonly number[]; min?: number; max?: number; maxLength?: number } = {}): number[] {
    const { fallback, min = 0, max = MAX_DIMENSION, maxLength = 4096 } = options;
    const value = this.raw(key) ?? fallback;
    if (
      !Array.isArray(value) ||
      value.length > maxLength ||
      !value.every((item) => typeof item === 'number' && Number.isInteger(item) && item >= min && item <= max)
    ) {
      this.fail(key, `must be an array of integers in ${min}..${max}`, 'Correct the field.');
    }
    return [...(value as number[])];
  }

  object(key: string): JsonObject | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (!isObject(value)) this.fail(key, 'must be an object', 'Correct the field.');
    return value;
  }
}
