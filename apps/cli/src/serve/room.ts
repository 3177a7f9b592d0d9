/** @file A limited amount of something that many want a share of: who does not fit waits, first come, first served. */

interface Waiter {
  readonly share: number;
  readonly settle: (error?: unknown) => void;
}

export class Room {
  readonly #size: number;
  readonly #waiters: Waiter[] = [];
  #taken = 0;

  constructor(size: number) {
    this.#size = size;
  }

  /**
   * Settles when the amount is free; more than all there is gets the whole room for itself.
   * @returns what gives it back; called again it does nothing.
   * @throws the signal's reason, if that fires first, or what `refuse` was given.
   */
  async take(amount: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const share = Math.min(amount, this.#size);
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        waiter.settle(signal.reason);
        this.#admit();
      };
      const waiter: Waiter = {
        share,
        settle: (error) => {
          signal.removeEventListener('abort', onAbort);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
      this.#admit();
    });
    let held = true;
    return () => {
      if (held) this.#taken -= share;
      held = false;
      this.#admit();
    };
  }

  /** Ends the waiting of all who wait now. */
  refuse(error: unknown): void {
    for (const waiter of this.#waiters.splice(0)) waiter.settle(error);
  }

  #admit(): void {
    for (let next = this.#waiters[0]; next !== undefined && this.#taken + next.share <= this.#size; next = this.#waiters[0]) {
      this.#waiters.shift();
      this.#taken += next.share;
      next.settle();
    }
  }
}
