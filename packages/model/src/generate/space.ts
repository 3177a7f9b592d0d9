/** @file Which rows of a cache are taken: ranges by first fit, freed in any order. */

/** Rows `start` to `start + length`. */
export interface Range {
  readonly start: number;
  readonly length: number;
}

export class Space {
  readonly length: number;
  /** By start; two of them never touch. */
  #free: Range[];

  constructor(length: number) {
    this.length = length;
    this.#free = length > 0 ? [{ start: 0, length }] : [];
  }

  /** Rows that are not taken. */
  get free(): number {
    return this.#free.reduce((sum, range) => sum + range.length, 0);
  }

  /** A range for each length, all of them or, when one finds no place, none. */
  take(lengths: readonly number[]): Range[] | undefined {
    const before = [...this.#free];
    const out: Range[] = [];
    for (const length of lengths) {
      const at = length === 0 ? -1 : this.#free.findIndex((range) => range.length >= length);
      const hole = this.#free[at];
      if (length > 0 && hole === undefined) {
        this.#free = before;
        return undefined;
      }
      out.push({ start: hole?.start ?? 0, length });
      if (hole !== undefined) this.#free.splice(at, 1, ...(hole.length === length ? [] : [{ start: hole.start + length, length: hole.length - length }]));
    }
    return out;
  }

  /** Gives a range back that `take` gave out. */
  give({ start, length }: Range): void {
    if (length === 0) return;
    const at = this.#free.findIndex((range) => range.start > start);
    const to = at < 0 ? this.#free.length : at;
    const [before, after] = [this.#free[to - 1], this.#free[to]];
    const joinsBefore = before !== undefined && before.start + before.length === start;
    const joinsAfter = after !== undefined && start + length === after.start;
    const low = joinsBefore ? before.start : start;
    const high = joinsAfter ? after.start + after.length : start + length;
    this.#free.splice(joinsBefore ? to - 1 : to, Number(joinsBefore) + Number(joinsAfter), { start: low, length: high - low });
  }
}
