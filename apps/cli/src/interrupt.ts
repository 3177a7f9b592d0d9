/** @file Ctrl-C: work stops at its next step and cleans up after itself; a second Ctrl-C ends the process at once. */

export class InterruptedError extends Error {
  readonly code = 'interrupted';
  override readonly name = 'InterruptedError';
  constructor() {
    super('Stopped by Ctrl-C; nothing half-written was left behind.');
  }
}

/** Runs work that may be stopped; `check` throws after Ctrl-C. */
export async function interruptible<T>(work: (signal: AbortSignal, check: () => void) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    return await work(stop.signal, () => {
      if (stop.signal.aborted) throw new InterruptedError();
    });
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
