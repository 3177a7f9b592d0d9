/**
 * @file Plans of shapes seen before. Real rows and pictures come in many sizes, and each size has a plan with memory of its
 * own; they are kept while that stays within a bound, those not used for longest going first. The one used last stays, and of
 * those that exceed the bound by themselves one: the step of an optimiser must not cost a large model its training plan.
 */
import { type Plan, RuntimeError } from '@trimpi/runtime';

export class PlanCache<Ready extends { readonly plan: Plan }> {
  readonly #bytes: number;
  /** In the order of their last use. */
  readonly #entries = new Map<string, { readonly ready: Promise<Ready>; bytes: number }>();

  /** @param bytes what all plans may hold together, the one used last and one larger than this not counted. */
  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /**
   * The plan of a key, made when it is asked for first; a failure is not kept. Where memory runs out, the plans that are not
   * under way are given up for it.
   */
  async get(key: string, make: () => Promise<Ready>): Promise<Ready> {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { ready: this.#made(make), bytes: 0 };
      entry.ready.catch(() => this.#entries.delete(key));
    } else this.#entries.delete(key);
    this.#entries.set(key, entry);
    const ready = await entry.ready;
    entry.bytes = ready.plan.memory().total;
    this.#makeRoom(key);
    return ready;
  }

  /** Disposes of all plans. */
  clear(): void {
    for (const { ready } of this.#entries.values()) dispose(ready);
    this.#entries.clear();
  }

  async #made(make: () => Promise<Ready>): Promise<Ready> {
    try {
      return await make();
    } catch (error) {
      const idle = [...this.#entries].filter(([, { bytes }]) => bytes > 0);
      if (!(error instanceof RuntimeError && error.code === 'out-of-memory') || idle.length === 0) throw error;
      for (const [key] of idle) this.#entries.delete(key);
      for (const [, { ready }] of idle) (await ready).plan.dispose();
      return make();
    }
  }

  #makeRoom(used: string): void {
    let held = 0;
    // Larger than the bound, from the one used on.
    let large = Number((this.#entries.get(used)?.bytes ?? 0) > this.#bytes);
    // From the one used last backwards: what no longer fits goes. Plans under way (0 bytes so far) are never in the way.
    for (const [key, { ready, bytes }] of [...this.#entries].toReversed()) {
      if (key === used) continue;
      const exceeds = bytes > this.#bytes;
      if (exceeds ? ++large === 1 : (held += bytes) <= this.#bytes || bytes === 0) continue;
      this.#entries.delete(key);
      dispose(ready);
    }
  }
}

function dispose(ready: Promise<{ readonly plan: Plan }>): void {
  void ready.then(({ plan }) => plan.dispose(), () => undefined);
}
