/** @file The worker that asks base and trained model. Policies and scenes come at once, the model with the first question. Messages: `ToCompare`, `FromCompare`. */
import type { FromCompare, ToCompare } from '../protocol.ts';
import { BaseAsker } from './base-asker.ts';
import { failureOf } from './failure.ts';
import { opfsStorage } from './opfs.ts';
import { type PageData, pageData } from './run-data.ts';
import { savedRun } from './saved.ts';

const post = (message: FromCompare, transfer: Transferable[] = []) => (self as unknown as Worker).postMessage(message, transfer);

let asked: { readonly data: PageData; readonly testSize: number } | undefined;
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
    asked = { data: await pageData(config), testSize: config.testSize };
    const trained = saved?.done.filter((s) => s.stage !== 'base').map(({ stage, title }) => ({ stage, title })) ?? [];
    post({ type: 'opened', policies: asked.data.views(), trained, config, base });
    return;
  }
  if (asked === undefined) return;
  const { data: { policies, question }, testSize } = asked;
  // Questions of a policy are every `policies`-th of the test set.
  const count = Math.max(1, Math.floor(testSize / policies));
  const { scene, ...about } = question('test', Math.min(message.policy + (message.scene % count) * policies, testSize - 1));
  post({ type: 'scene', scene }, scene.pictures.map((p) => p.rgba.buffer));
  if (message.type !== 'ask') return;
  try {
    await (await askers.of(message.base)).ask(about, message.stage, message.maxNewTokens, post);
  } catch (cause) {
    void askers.dispose();
    throw cause;
  }
}
