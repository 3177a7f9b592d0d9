/** @file The run of `@trimpi/pipeline` on the browser's device. */
import { PipelineError, run, type RunConfig } from '@trimpi/pipeline';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import type { FromTrain } from '../protocol.ts';
import { loadBase } from './base.ts';
import { nameOf } from './name.ts';
import type { PageStorage } from './opfs.ts';
import { finishedRun } from './saved.ts';

interface TrainOptions {
  readonly config: RunConfig;
  /** Whether what is saved is discarded first. */
  readonly fresh: boolean;
  /** Address of the base's files. */
  readonly base: string;
  readonly storage: PageStorage;
  readonly signal: AbortSignal;
  readonly post: (message: FromTrain) => void;
}

/** Trains to the end or to a pause, and says so. Throws what the run throws. */
export async function trainOn(options: TrainOptions): Promise<void> {
  // Two pages on one folder would overwrite each other's files. A page that was just loaded again lets go after a moment.
  let alone = false;
  try {
    await navigator.locks.request('trimpi-run', { signal: AbortSignal.timeout(5000) }, async () => {
      alone = true;
      await trainAlone(options);
    });
  } catch (cause) {
    if (alone) throw cause;
    throw new PipelineError('storage', 'this run', 'is being trained in another tab.', 'Go on there, or close that tab and load this page again.', { cause });
  }
}

async function trainAlone({ config, fresh, base, storage, signal, post }: TrainOptions): Promise<void> {
  if (fresh) await storage.clear();
  const device = await openDevice({ powerPreference: 'high-performance' });
  const engine = new WebGpuEngine(device);
  // A lost device may leave a promise that never settles: the page hears of it here and ends this worker.
  void device.lost.then(({ reason, message }) => {
    if (reason !== 'destroyed') post({ type: 'failed', failure: { code: 'device-lost', message } });
  });
  try {
    const files = await loadBase(base, (done, of) => post({ type: 'loading', done, of }));
    await run({ config, engine, adapterName: nameOf(device), base: files, storage, signal, onEvent: (event) => post({ type: 'event', event }) });
    post({ type: 'finished', report: (await finishedRun(storage))! });
  } catch (cause) {
    if (cause instanceof PipelineError && cause.code === 'interrupted') post({ type: 'paused' });
    else throw cause;
  } finally {
    engine.dispose();
  }
}
