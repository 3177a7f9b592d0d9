/** @file Who waits and who runs: requests that can share a `generate` call do, and too many waiting are refused. */
import { ApiError } from './api-error.ts';
import type { Choice } from './choice.ts';

export interface Job {
  /** Jobs with the same key can run in one batch. */
  readonly key: string;
  /** Tokens of the prompt and of all its completions at most. */
  readonly tokens: number;
  readonly choices: readonly Choice[];
  /** Whether the answer can go out; by default when all choices have finished. */
  readonly complete?: () => boolean;
  /** Fires when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

export interface SchedulerOptions<J extends Job> {
  /** Runs a batch until every choice has finished or `signal` fires, and completes its jobs. */
  readonly run: (jobs: readonly J[], signal: AbortSignal) => Promise<void>;
  readonly maxQueue: number;
  /** Completions in one batch. */
  readonly maxRows: number;
  /** Tokens of one batch; a job alone may have more. */
  readonly maxTokens: number;
  readonly onError: (error: unknown) => void;
}

interface Entry<J extends Job> {
  readonly job: J;
  readonly settle: (error?: unknown) => void;
}

/** A short wait before a batch begins, so that requests sent together run together. */
const GATHER_MS = 5;

export class Scheduler<J extends Job> {
  readonly #o: SchedulerOptions<J>;
  readonly #queue: Entry<J>[] = [];
  readonly #places = new WeakMap<Entry<J>, { leave(): void }>();
  #running: { readonly entries: readonly Entry<J>[]; readonly stop: AbortController } | undefined;
  #entered = 0;
  #awake = false;
  #closed = false;
  /** Seconds of a batch, smoothed. */
  #seconds = 1;
  /** Whether the last batch ended with an error of ours. */
  failing = false;

  constructor(options: SchedulerOptions<J>) {
    this.#o = options;
  }

  /** Requests that have entered and do not run yet. */
  get waiting(): number {
    return this.#entered;
  }

  get running(): number {
    return this.#running?.entries.length ?? 0;
  }

  /** Takes a place in the queue, before work is spent on a request. @throws ApiError 429 with Retry-After, 503 when closing. */
  enter(): { leave(): void } {
    if (this.#closed) throw new ApiError(503, 'The server is shutting down.', { code: 'shutting_down' });
    if (this.#entered >= this.#o.maxQueue) {
      const seconds = Math.min(600, Math.max(1, Math.ceil((this.#seconds * (this.#entered + this.running)) / this.#o.maxRows)));
      throw new ApiError(429, `${this.#entered} requests are waiting already. Try again in ${seconds} s.`, { code: 'queue_full', headers: { 'retry-after': String(seconds) } });
    }
    this.#entered++;
    let left = false;
    return {
      leave: () => {
        if (!left) this.#entered--;
        left = true;
      },
    };
  }

  /** Runs a job that has entered; settles when its choices are finished. Rejects with what went wrong, or when nobody waits. */
  async submit(job: J, place: { leave(): void }): Promise<void> {
    if (this.#closed) throw new ApiError(503, 'The server is shutting down.', { code: 'shutting_down' });
    let entry!: Entry<J>;
    const done = new Promise<void>((resolve, reject) => {
      entry = { job, settle: (error) => (error === undefined ? resolve() : reject(error)) };
    });
    const onAbort = () => this.#abandon(entry);
    job.signal.addEventListener('abort', onAbort, { once: true });
    this.#queue.push(entry);
    if (job.signal.aborted) onAbort();
    this.#places.set(entry, place);
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
    for (const entry of this.#queue.splice(0)) entry.settle(new ApiError(503, 'The server is shutting down.', { code: 'shutting_down' }));
    while (this.#awake) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  #abandon(entry: Entry<J>): void {
    const at = this.#queue.indexOf(entry);
    if (at >= 0) this.#queue.splice(at, 1);
    entry.settle(new ApiError(499, 'The client went away.'));
    this.#stopIfIdle();
  }

  /** Ends a batch that nobody waits for, and one whose completions all came to their end early. */
  #stopIfIdle(): void {
    const running = this.#running;
    if (running?.entries.every(({ job }) => job.signal.aborted || isSampled(job)) === true) running.stop.abort();
  }

  async #wake(): Promise<void> {
    if (this.#awake) return;
    this.#awake = true;
    await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
    while (this.#queue.length > 0) await this.#runBatch(this.#take());
    this.#awake = false;
  }

  /** The oldest job and those behind it that fit to it. */
  #take(): Entry<J>[] {
    const [first] = this.#queue;
    const { maxRows, maxTokens } = this.#o;
    let rows = 0;
    let tokens = 0;
    const batch: Entry<J>[] = [];
    for (const entry of this.#queue) {
      const { job } = entry;
      if (job.key !== first!.job.key) continue;
      if (batch.length > 0 && (rows + job.choices.length > maxRows || tokens + job.tokens > maxTokens)) continue;
      rows += job.choices.length;
      tokens += job.tokens;
      batch.push(entry);
    }
    for (const entry of batch) {
      this.#queue.splice(this.#queue.indexOf(entry), 1);
      this.#places.get(entry)?.leave();
    }
    return batch;
  }

  async #runBatch(entries: readonly Entry<J>[]): Promise<void> {
    const stop = new AbortController();
    this.#running = { entries, stop };
    const started = performance.now();
    let error: unknown;
    try {
      await this.#o.run(entries.map((entry) => entry.job), stop.signal);
      this.failing = false;
    } catch (cause) {
      error = cause;
    } finally {
      this.#running = undefined;
    }
    this.#seconds = 0.7 * this.#seconds + (0.3 * (performance.now() - started)) / 1000;
    const open = entries.filter(({ job }) => !isDone(job) && !job.signal.aborted);
    if (error !== undefined && entries.length > 1) {
      // One of them may be at fault: each that has nothing yet gets its own try.
      for (const entry of open) {
        if (entry.job.choices.every((choice) => choice.completionTokens === 0)) await this.#runBatch([entry]);
        else entry.settle(error);
      }
      return;
    }
    if (error !== undefined) {
      this.failing = true;
      this.#o.onError(error);
    }
    for (const entry of entries) entry.settle(isDone(entry.job) ? undefined : (error ?? new Error('A batch ended before its completions did.')));
  }

  /** To be called when a choice may have finished. */
  progressed(): void {
    for (const entry of this.#running?.entries ?? []) if (isDone(entry.job)) entry.settle();
    this.#stopIfIdle();
  }
}

const isSampled = (job: Job): boolean => job.choices.every((choice) => choice.finish !== undefined);
const isDone = (job: Job): boolean => isSampled(job) && (job.complete?.() ?? true);
