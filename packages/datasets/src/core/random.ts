/**
 * @file Seeded random numbers: xoshiro128** (Blackman and Vigna) on 32-bit words.
 * A stream is named by a seed and any number of keys (`randomStream(seed, 'train', 3, 17)`), so that item i of a
 * dataset never depends on the items before it. Only integer arithmetic: the same numbers in every engine.
 */
import { DatasetError } from './error.ts';

export type StreamKey = string | number;

function finalise(h: number): number {
  let x = h | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** A 32-bit hash of keys: strings by UTF-16 unit, numbers by their low and high 32 bits. */
export function hashKeys(keys: readonly StreamKey[], salt = 0): number {
  let h = finalise(salt ^ 0x9e3779b9);
  for (const key of keys) {
    if (typeof key === 'number') {
      if (!Number.isSafeInteger(key)) throw new DatasetError('invalidArgument', `seed or index is ${key}; pass a whole number or a text.`);
      const low = key >>> 0;
      const high = Math.floor(key / 4294967296) >>> 0;
      h = finalise(Math.imul(h ^ low, 0xcc9e2d51) + 1);
      h = finalise(Math.imul(h ^ high, 0x1b873593) + 2);
    } else {
      for (let i = 0; i < key.length; i++) h = finalise(Math.imul(h ^ key.charCodeAt(i), 0x01000193) + 3);
      h = finalise(h + key.length + 5);
    }
  }
  return h;
}

/** A stream of random numbers, fixed by the keys it was made from. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(keys: readonly StreamKey[]) {
    this.#a = hashKeys(keys, 1);
    this.#b = hashKeys(keys, 2);
    this.#c = hashKeys(keys, 3);
    this.#d = hashKeys(keys, 4) | 1;
  }

  /** A uniform unsigned 32-bit integer. */
  uint32(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** Uniform in [0, 1), a multiple of 2^-32. */
  float(): number {
    return this.uint32() / 4294967296;
  }

  /** Uniform in [low, high). */
  range(low: number, high: number): number {
    return low + (high - low) * this.float();
  }

  /** A uniform integer in [0, n). */
  int(n: number): number {
    return Math.floor(this.float() * n);
  }

  /** A uniform integer in [low, high], both included. */
  between(low: number, high: number): number {
    return low + this.int(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** One element of a list that is not empty. */
  pick<T>(items: readonly T[]): T {
    const item = items[this.int(items.length)];
    if (item === undefined) throw new DatasetError('invalidArgument', 'pick was given an empty list; pass at least one item.');
    return item;
  }

  /** A shuffled copy (Fisher and Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const swap = out[i] as T;
      out[i] = out[j] as T;
      out[j] = swap;
    }
    return out;
  }

  /** `count` different elements, in random order. */
  sample<T>(items: readonly T[], count: number): T[] {
    return this.shuffle(items).slice(0, count);
  }
}

/** The stream of a seed and keys. */
export function randomStream(seed: StreamKey, ...keys: StreamKey[]): Random {
  return new Random([seed, ...keys]);
}
