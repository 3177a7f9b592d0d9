/** @file The run of `@trimpi/pipeline` on the browser's device. */
import { PipelineError, run, type RunConfig, type RunEvent, type RunOptions, type StageName } from '@trimpi/pipeline';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import type { BaseName } from '../bases.ts';
import type { FromTrain } from '../protocol.ts';
import { alone } from './alone.ts';
import { loadBase } from './base.ts';
import { nameOf } from './name.ts';
import type { PageStorage } from './opfs.ts';
import { pageData } from './run-data.ts';
import { finishedRun, keepBase } from './saved.ts';

interface TrainOptions {
  readonly config: RunConfig;
  /** Whether what is saved is discarded first. */
  readonly fresh: boolean;
  readonly base: BaseName;
  /** Address of its files. */
  readonly url: string;
  readonly storage: PageStorage;
  readonly signal: AbortSignal;
  readonly post: (message: FromTrain) => void;
}

/** Milliseconds between two looks at the completions. */
const LOOK_MS = 1000;

/** Trains to the end or to a pause, and says so. Whether it came to the end. Throws what the run throws. */
export async function trainOn(options: TrainOptions): Promise<boolean> {
  return alone('trimpi-run', () => trainAlone(options));
}

async function trainAlone({ config, fresh, base, url, storage, signal, post }: TrainOptions): Promise<boolean> {
  if (fresh) {
    await storage.clear();
    await keepBase(storage, base);
  }
  const data = await pageData(config);
  const device = await openDevice({ powerPreference: 'high-performance' });
  const engine = new WebGpuEngine(device);
  // A lost device may leave a promise that never settles: the page hears of it here and ends this worker.
  void device.lost.then(({ reason, message }) => {
    if (reason !== 'destroyed') post({ type: 'failed', failure: { code: 'device-lost', message } });
  });
  const titles = new Map<StageName, string>();
  const onEvent = (event: RunEvent): void => {
    if (event.type === 'stage') titles.set(event.stage, event.title);
    post({ type: 'event', event });
    if (event.type === 'step' || event.type === 'stage') post({ type: 'memory', bytes: engine.counters.bytes });
  };
  let looked = -Infinity;
  const onCompletions: RunOptions['onCompletions'] = (stage, completions) => {
    const [first] = completions;
    const index = Number(/-train-(\d+)$/.exec(first?.id ?? '')?.[1] ?? NaN);
    if (first === undefined || Number.isNaN(index) || performance.now() - looked < LOOK_MS) return;
    looked = performance.now();
    post({ type: 'sample', sample: { title: titles.get(stage) ?? stage, step: first.step, scene: data.question('train', index).scene, completions } });
  };
  try {
    const files = await loadBase(url, (done, of) => post({ type: 'loading', done, of }));
    await run({ config, engine, adapterName: nameOf(device), base: files, storage, signal, onCompletions, onEvent });
    post({ type: 'finished', report: (await finishedRun(storage))! });
    return true;
  } catch (cause) {
    if (cause instanceof PipelineError && cause.code === 'interrupted') {
      post({ type: 'paused' });
      return false;
    }
    throw cause;
  } finally {
    engine.dispose();
  }
}
