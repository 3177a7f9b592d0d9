/** @file The worker that asks base and trained model. Policies and scenes come at once, the model with the first question. Messages: `ToCompare`, `FromCompare`. */
import { runDataset } from '@trimpi/pipeline';
import type { FromCompare, ToCompare } from '../protocol.ts';
import { BaseAsker } from './base-asker.ts';
import { failureOf } from './failure.ts';
import { opfsStorage } from './opfs.ts';
import { savedRun } from './saved.ts';
import { policyViews, sceneView } from './views.ts';

const post = (message: FromCompare, transfer: Transferable[] = []) => (self as unknown as Worker).postMessage(message, transfer);

let dataset: ReturnType<typeof runDataset> | undefined;
const askers = new BaseAsker(async (base) => (await import('./compare-on.ts')).openAsker(base));

addEventListener('message', ({ data }: MessageEvent<ToCompare>) => {
  hear(data).catch((cause: unknown) => post({ type: 'failed', failure: failureOf(cause) }));
});

async function hear(message: ToCompare): Promise<void> {
  if (message.type === 'open') {
    // A run that is saved here has policies of its own: those are what its weights know.
    const storage = await opfsStorage('trimpi-run');
    const saved = storage === null ? undefined : await savedRun(storage).catch(() => undefined);
    const config = saved?.config ?? message.config;
    const base = saved?.base ?? message.base;
    dataset = runDataset(config);
    const trained = saved?.done.filter((s) => s.stage !== 'base').map(({ stage, title }) => ({ stage, title })) ?? [];
    post({ type: 'opened', policies: policyViews(dataset), trained, config, base });
    return;
  }
  if (dataset === undefined) return;
  const { policies } = dataset;
  // Questions of a policy are every `policies.length`-th of the test set.
  const count = Math.max(1, Math.floor(dataset.size('test') / policies.length));
  const example = dataset.example('test', Math.min(message.policy + (message.scene % count) * policies.length, dataset.size('test') - 1));
  const scene = sceneView(dataset, example);
  post({ type: 'scene', scene }, [scene.rgba.buffer]);
  if (message.type !== 'ask') return;
  try {
    await (await askers.of(message.base)).ask(example, message.stage, message.maxNewTokens, post);
  } catch (cause) {
    void askers.dispose();
    throw cause;
  }
}
