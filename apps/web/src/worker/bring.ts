/** @file The worker that reads what a visitor brings: a policy, a checkpoint. Each kind has a script of its own. Messages: `ToBring`, `FromBring`. */
import type { BroughtFile, FromBring, ToBring } from '../protocol.ts';
import { failureOf } from './failure.ts';
import type { Adapter } from '@trimpi/model';
import type { LoadedCheckpoint } from './checkpoint-on.ts';
import type { BroughtPolicy } from './own-policy.ts';

const post = (message: FromBring) => (self as unknown as Worker).postMessage(message, []);

let policy: BroughtPolicy | undefined;
let stop: AbortController | undefined;
let checkpoint: readonly BroughtFile[] = [];
let adapter: Adapter | undefined;
let loaded: LoadedCheckpoint | undefined;

addEventListener('message', ({ data }: MessageEvent<ToBring>) => {
  if (data.type === 'stop') stop?.abort();
  else hear(data).catch((cause: unknown) => post({ type: 'failed', failure: failureOf(cause) }));
});

async function hear(message: Exclude<ToBring, { type: 'stop' }>): Promise<void> {
  switch (message.type) {
    case 'folder':
      await folder(message.files, message.memory);
      return;
    case 'fit': {
      const { fitOf } = await import('./checkpoint.ts');
      post({ type: 'fit', fits: await fitOf(message.files, message.memory) });
      return;
    }
    case 'own': {
      const brought = await readPolicy(message.policy);
      // Two models would not fit.
      unload();
      const { signal } = (stop = new AbortController());
      const { ownRun } = await import('./own-on.ts');
      const { policy: _, ...asked } = message;
      const end = await ownRun({ ...asked, policy: brought, checkpoint, signal, post });
      if (message.on.type === 'checkpoint' && end.files.length > 0) {
        const { ownId } = await import('./own-kept.ts');
        await wear(await ownId(brought, checkpoint));
      }
      post({ type: 'own-done', ...end });
      return;
    }
    case 'own-find': {
      const { keptOwnRun, ownId, ownStorage } = await import('./own-kept.ts');
      const id = await ownId(await readPolicy(message.policy), message.on === 'checkpoint' ? checkpoint : undefined);
      post({ type: 'own-found', id, keepsFiles: (await ownStorage(id)).keepsFiles, run: await keptOwnRun(id) });
      return;
    }
    case 'own-list':
    case 'own-forget': {
      const { keptOwnRuns, ownStorage } = await import('./own-kept.ts');
      if (message.type === 'own-forget') {
        const { alone } = await import('./alone.ts');
        await alone(`trimpi-own-${message.id}`, async () => (await ownStorage(message.id)).clear());
      }
      post({ type: 'own-kept', runs: await keptOwnRuns() });
      return;
    }
    case 'own-wear':
      await wear(message.id);
      return;
    case 'adapter': {
      const { bringAdapter } = await import('./checkpoint.ts');
      adapter = await bringAdapter(checkpoint, message.files);
      // What is loaded does not wear it.
      unload();
      post({ type: 'adapter', r: adapter.config.r, modules: adapter.targets.length, trained: false });
      return;
    }
    case 'load': {
      unload();
      const { signal } = (stop = new AbortController());
      const { loadCheckpoint } = await import('./checkpoint-on.ts');
      try {
        loaded = await loadCheckpoint({ files: checkpoint, adapter, bits: message.bits, limits: { memory: message.memory * 2 ** 30 }, signal, post });
      } catch (cause) {
        if (!signal.aborted) throw cause;
        post({ type: 'load-stopped' });
      }
      return;
    }
    case 'chat': {
      const { signal } = (stop = new AbortController());
      await loaded?.chat(message, signal);
      post({ type: 'chat-done' });
      return;
    }
    case 'take': {
      const { takeAway } = await import('./checkpoint-take.ts');
      post({ type: 'taken', files: await takeAway(checkpoint, adapter, message.form) });
      return;
    }
    case 'onnx': {
      const { onnxOfRun } = await import('./onnx-on.ts');
      post({ type: 'onnx', files: await onnxOfRun(message.bits) });
      return;
    }
    default:
      return message satisfies never;
  }
}

/** The policy may have been brought before the checkpoint, to a worker before this one. */
async function readPolicy(files: readonly BroughtFile[]): Promise<BroughtPolicy> {
  return (policy ??= await (await import('./own-policy.ts')).bringPolicy(files));
}

/** What was trained here takes the place of an adapter that was brought. */
async function wear(id: string): Promise<void> {
  const [{ bringAdapter }, { ownStorage }] = await Promise.all([import('./checkpoint.ts'), import('./own-kept.ts')]);
  const storage = await ownStorage(id);
  const files: BroughtFile[] = [];
  for (const name of ['adapter_config.json', 'adapter_model.safetensors']) files.push({ name, file: new File([(await storage.blob(`adapter/${name}`)) ?? ''], name) });
  adapter = await bringAdapter(checkpoint, files);
  unload();
  post({ type: 'adapter', r: adapter.config.r, modules: adapter.targets.length, trained: true });
}

function unload(): void {
  loaded?.dispose();
  loaded = undefined;
}

async function folder(files: readonly BroughtFile[], memory: number): Promise<void> {
  const has = (name: string) => files.some((f) => f.name === name);
  policy = undefined;
  adapter = undefined;
  checkpoint = [];
  unload();
  if (has('policy.md') || has('examples.jsonl')) {
    const { bringPolicy } = await import('./own-policy.ts');
    policy = await bringPolicy(files);
    post({ type: 'policy', policy: policy.view });
  } else if (has('config.json')) {
    const { checkpointView } = await import('./checkpoint.ts');
    checkpoint = files;
    post({ type: 'checkpoint', checkpoint: await checkpointView(files, memory) });
  } else {
    throw Object.assign(new Error('This folder holds neither a policy (policy.md and examples.jsonl) nor a checkpoint (config.json, tokenizer.json and model.safetensors).'), { code: 'unknown-folder' });
  }
}
