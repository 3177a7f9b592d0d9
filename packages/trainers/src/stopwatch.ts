/**
 * Seconds of a step by part, as metrics under `time/`: one for each lap, `time/step` for all, and `time/outside_gpu`
 * for what was not spent waiting for the device (packing, rewards, advantages, the objective's arithmetic). What the
 * host does between two submissions inside one call of the model counts as the device's.
 */
export class Stopwatch {
  readonly #laps: Record<string, number> = {};
  readonly #begin = performance.now();
  #last = this.#begin;
  #device = 0;

  /** Runs something that waits for the device. */
  async device<T>(work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.#device += performance.now() - start;
    }
  }

  /** Ends a part: all time since the part before it belongs to it. */
  lap(name: string): void {
    const now = performance.now();
    this.#laps[`time/${name}`] = (this.#laps[`time/${name}`] ?? 0) + (now - this.#last) / 1000;
    this.#last = now;
  }

  times(): Readonly<Record<string, number>> {
    const step = performance.now() - this.#begin;
    return { ...this.#laps, 'time/step': step / 1000, 'time/outside_gpu': Math.max(0, step - this.#device) / 1000 };
  }
}
