/** @file The model that is asked: one at a time, and of the base that a question names. */
import type { Asker } from './compare-on.ts';

export class BaseAsker {
  readonly #open: (base: string) => Promise<Asker>;
  #held: { readonly base: string; readonly asker: Promise<Asker> } | undefined;

  constructor(open: (base: string) => Promise<Asker>) {
    this.#open = open;
  }

  /** The one that is held, where it is of this base; else that one goes first: two would not fit everywhere. */
  async of(base: string): Promise<Asker> {
    if (this.#held?.base !== base) {
      await this.dispose();
      this.#held = { base, asker: this.#open(base) };
    }
    return this.#held.asker;
  }

  async dispose(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    (await held?.asker.catch(() => undefined))?.dispose();
  }
}
