/**
 * Philox4x32-10 (Salmon et al. 2011) on the host: the same stream as the sampling kernel.
 * @returns four 32-bit words for a counter (c0, c1, c2, c3) and a key.
 */
export function philox(counter: readonly [number, number, number, number], key: readonly [number, number]): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter.map((x) => x >>> 0) as [number, number, number, number];
  let [k0, k1] = key.map((x) => x >>> 0) as [number, number];
  for (let round = 0; round < 10; round++) {
    const h0 = mulHigh(0xd2511f53, c0);
    const l0 = Math.imul(0xd2511f53, c0) >>> 0;
    const h1 = mulHigh(0xcd9e8d57, c2);
    const l1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1, (h0 ^ c3 ^ k1) >>> 0, l0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** A 32-bit word of Philox as a number in (0, 1) with 24 bits. */
export function toUniform(word: number): number {
  return ((word >>> 8) + 0.5) / 16777216;
}

/** The upper 32 bits of the product of two unsigned words, by halves: every sum stays below 2^33, exact in a double. */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const mid = ah * bl + ((al * bl) >>> 16);
  const mid2 = al * bh + (mid & 0xffff);
  return (ah * bh + (mid >>> 16) + (mid2 >>> 16)) >>> 0;
}

/** A sequence of random numbers that is a function of seed and stream; its position can be saved and set. */
export class PhiloxStream {
  readonly #key: readonly [number, number];
  position = 0;

  constructor(seed: number, stream = 0) {
    this.#key = [seed >>> 0, stream >>> 0];
  }

  /** Uniform in (0, 1). */
  next(): number {
    return toUniform(this.word());
  }

  word(): number {
    const p = this.position++;
    return philox([p >>> 0, Math.floor(p / 4294967296), 0x54524d50, 0], this.#key)[0];
  }

  /** Integer in [0, n). */
  integer(n: number): number {
    return Math.floor((this.word() / 4294967296) * n);
  }

  /** Standard normal (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  /** Fisher-Yates in place. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }
}
