/** @file The worker that trains. Only what a visit needs is loaded at once; the run comes with the first start. Messages: `ToTrain`, `FromTrain`. */
import { type Device, openDevice } from '@trimpi/runtime';
import type { FromTrain, ToTrain } from '../protocol.ts';
import { failureOf } from './failure.ts';
import { savedCurves } from './curves.ts';
import { forgetRun, keepRun, keptRuns } from './history.ts';
import { pageMemory } from './memory.ts';
import { nameOf } from './name.ts';
import { opfsStorage, type PageStorage } from './opfs.ts';
import { savedRun } from './saved.ts';

const post = (message: FromTrain) => (self as unknown as Worker).postMessage(message, []);

let storage: Promise<PageStorage> | undefined;
let stop: AbortController | undefined;

addEventListener('message', ({ data }: MessageEvent<ToTrain>) => {
  if (data.type === 'pause') stop?.abort();
  else if (data.type === 'forget') void forgetRun(data.id).then((runs) => post({ type: 'runs', runs }));
  else (data.type === 'open' ? open() : start(data)).catch((cause: unknown) => post({ type: 'failed', failure: failureOf(cause) }));
});

function openStorage(): Promise<PageStorage> {
  return (storage ??= opfsStorage('trimpi-run').then((found) => found ?? pageMemory()));
}

async function open(): Promise<void> {
  const [files, adapter] = await Promise.all([openStorage(), openDevice().then(describe, failureOf)]);
  const saved = await savedRun(files).catch(failureOf);
  const curves = saved === undefined || 'message' in saved ? [] : await savedCurves(files, ['vm-cpt', 'cot-sft', ...saved.config.arms]).catch(() => []);
  post({ type: 'runs', runs: await keptRuns() });
  post({ type: 'opened', adapter, keepsFiles: files.keepsFiles, curves, ...(saved === undefined ? {} : { saved }) });
}

function describe(device: Device) {
  device.dispose();
  return { name: nameOf(device), software: device.adapter.software };
}

async function start({ config, fresh, base, url }: Extract<ToTrain, { type: 'start' }>): Promise<void> {
  // A pause that comes while the script loads counts too.
  const { signal } = (stop = new AbortController());
  try {
    const files = await openStorage();
    const { trainOn } = await import('./train-on.ts');
    if (await trainOn({ config, fresh, base, url, storage: files, signal, post })) post({ type: 'runs', runs: await keepRun(files) });
  } finally {
    stop = undefined;
  }
}
