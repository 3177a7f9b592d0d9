/**
 * @file Who waits and who runs. What runs is one batch that never has to end: before every step the oldest of those that
 * wait join it as far as there is room, and who has finished leaves it. Too many waiting are refused.
 */
import { ApiError } from './api-error.ts';
import type { Choice } from './choice.ts';
import { Room } from './room.ts';

export interface Job {
  readonly choices: readonly Choice[];
  /** Fires when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** What computes the batch. Its functions are called one after the other. */
export interface Runner<J extends Job> {
  /** Begins as many of the jobs, from the first on, as there is room for now. When it throws, none has begun. */
  begin(jobs: readonly J[]): Promise<number>;
  /** A step for all that have begun; their choices grow. */
  step(): Promise<void>;
  /** Completes a job whose choices have finished, or gives up one that nobody waits for; its room is free. */
  end(job: J): Promise<void>;
  /** Gives everything up, after a step that failed. */
  reset(): void;
}

export interface SchedulerOptions<J extends Job> {
  readonly runner: Runner<J>;
  readonly maxQueue: number;
  /** Completions at once; what is waited for a place depends on it. */
  readonly maxRows: number;
  /** Tokens of pictures that are decoded for those that wait; one request can have more when no other has any. */
  readonly maxHeld: number;
  readonly onError: (error: unknown) => void;
}

export interface Place {
  /** Waits until so many tokens of pictures may be held for a request that waits. @throws ApiError 499, 503 when closing. */
  hold(tokens: number, signal: AbortSignal): Promise<void>;
  /** Gives the place back, and what it holds. */
  leave(): void;
}

interface Entry<J extends Job> {
  readonly job: J;
  readonly place: Place;
  readonly settle: (error?: unknown) => void;
  /** When it joined the batch. */
  begun: number;
}

/** A short wait before the first step, so that requests sent together are read together. */
const GATHER_MS = 5;

export class Scheduler<J extends Job> {
  readonly #o: SchedulerOptions<J>;
  readonly #queue: Entry<J>[] = [];
  readonly #running = new Set<Entry<J>>();
  readonly #pictures: Room;
  #entered = 0;
  #awake = false;
  #closed = false;
  /** Seconds that a job runs, smoothed. */
  #seconds = 1;
  /** Whether the last step ended with an error of ours. */
  failing = false;

  constructor(options: SchedulerOptions<J>) {
    this.#o = options;
    this.#pictures = new Room(options.maxHeld);
  }

  /** Requests that have entered and do not run yet. */
  get waiting(): number {
    return this.#entered;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Takes a place in the queue, before work is spent on a request. @throws ApiError 429 with Retry-After, 503 when closing. */
  enter(): Place {
    if (this.#closed) throw closing();
    if (this.#entered >= this.#o.maxQueue) {
      const seconds = Math.min(600, Math.max(1, Math.ceil((this.#seconds * (this.#entered + this.running)) / this.#o.maxRows)));
      throw new ApiError(429, `${this.#entered} requests are waiting already. Try again in ${seconds} s.`, { code: 'queue_full', headers: { 'retry-after': String(seconds) } });
    }
    this.#entered++;
    let left = false;
    let giveBack = (): void => undefined;
    return {
      hold: async (tokens, signal) => {
        if (this.#closed) throw closing();
        giveBack = await this.#pictures.take(tokens, signal).catch((error: unknown) => {
          throw signal.aborted ? gone() : error;
        });
      },
      leave: () => {
        giveBack();
        if (!left) this.#entered--;
        left = true;
      },
    };
  }

  /** Runs a job that has entered; settles when its choices are finished. Rejects with what went wrong, or when nobody waits. */
  async submit(job: J, place: Place): Promise<void> {
    if (this.#closed) throw closing();
    let entry!: Entry<J>;
    const done = new Promise<void>((resolve, reject) => {
      entry = { job, place, begun: 0, settle: (error) => (error === undefined ? resolve() : reject(error)) };
    });
    const onAbort = () => this.#abandon(entry);
    job.signal.addEventListener('abort', onAbort, { once: true });
    this.#queue.push(entry);
    if (job.signal.aborted) onAbort();
    void this.#wake();
    try {
      await done;
    } finally {
      job.signal.removeEventListener('abort', onAbort);
      place.leave();
    }
  }

  /** Refuses what waits and lets what runs come to its end. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#pictures.refuse(closing());
    for (const entry of this.#queue.splice(0)) entry.settle(closing());
    while (this.#awake) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  /** What runs already is given up behind the step under way. */
  #abandon(entry: Entry<J>): void {
    const at = this.#queue.indexOf(entry);
    if (at >= 0) this.#queue.splice(at, 1);
    entry.settle(gone());
  }

  async #wake(): Promise<void> {
    if (this.#awake) return;
    this.#awake = true;
    await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
    while (this.#queue.length > 0 || this.#running.size > 0) {
      if (this.#queue.length > 0) await this.#begin();
      if (this.#running.size > 0) await this.#step();
    }
    this.#awake = false;
  }

  async #begin(): Promise<void> {
    const entries = [...this.#queue];
    try {
      const count = await this.#o.runner.begin(entries.map((entry) => entry.job));
      this.#join(entries.slice(0, count));
      if (count === 0 && this.#running.size === 0) this.#fail(entries[0]!, new Error('A request has no room in an empty batch.'));
    } catch (cause) {
      if (entries.length === 1) this.#fail(entries[0]!, cause);
      else await this.#beginEach(entries);
    }
  }

  /** One of several is at fault: each is tried for itself. */
  async #beginEach(entries: readonly Entry<J>[]): Promise<void> {
    for (const entry of entries) {
      try {
        if ((await this.#o.runner.begin([entry.job])) === 0) return;
        this.#join([entry]);
      } catch (cause) {
        this.#fail(entry, cause);
      }
    }
  }

  #join(entries: readonly Entry<J>[]): void {
    for (const entry of entries) {
      this.#remove(entry);
      this.#running.add(entry);
      entry.begun = performance.now();
    }
  }

  #fail(entry: Entry<J>, error: unknown): void {
    this.#remove(entry);
    this.failing = true;
    this.#o.onError(error);
    entry.settle(error);
  }

  #remove(entry: Entry<J>): void {
    const at = this.#queue.indexOf(entry);
    if (at >= 0) this.#queue.splice(at, 1);
    entry.place.leave();
  }

  async #step(): Promise<void> {
    try {
      await this.#o.runner.step();
      this.failing = false;
    } catch (error) {
      this.failing = true;
      this.#o.onError(error);
      this.#o.runner.reset();
      for (const entry of this.#running) entry.settle(error);
      this.#running.clear();
      return;
    }
    for (const entry of this.#running) {
      if (entry.job.signal.aborted || entry.job.choices.every((choice) => choice.finish !== undefined)) await this.#end(entry);
    }
  }

  async #end(entry: Entry<J>): Promise<void> {
    try {
      await this.#o.runner.end(entry.job);
      entry.settle();
    } catch (error) {
      this.#o.onError(error);
      entry.settle(error);
    }
    this.#running.delete(entry);
    this.#seconds = 0.7 * this.#seconds + (0.3 * (performance.now() - entry.begun)) / 1000;
  }
}

function gone(): ApiError {
  return new ApiError(499, 'The client went away.');
}

function closing(): ApiError {
  return new ApiError(503, 'The server is shutting down.', { code: 'shutting_down' });
}
