/** @file One page at a time on the files of a run: two would overwrite each other's. */
import { PipelineError } from '@trimpi/pipeline';

/** A page that was just loaded again lets go after a moment. Throws what `run` throws, and `storage` where another page goes on with this run. */
export async function alone<T>(name: string, run: () => Promise<T>): Promise<T> {
  let begun = false;
  try {
    return await navigator.locks.request(name, { signal: AbortSignal.timeout(5000) }, () => {
      begun = true;
      return run();
    });
  } catch (cause) {
    if (begun) throw cause;
    throw new PipelineError('storage', 'this run', 'is being trained in another tab.', 'Go on there, or close that tab and load this page again.', { cause });
  }
}
