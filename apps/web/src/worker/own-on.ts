/** @file A policy of the visitor's own into the tiny base or into the checkpoint brought last: asked with and without it, and trained as the paper trains. */
import { type Example, makeScorer, ownExamples, type RgbImage } from '@trimpi/datasets';
import { type ModelFiles, toRgb } from '@trimpi/model';
import { type ChatExample, internalise, type InternaliseConfig, memoryStorage, PipelineError, type RunConfig, type RunStorage } from '@trimpi/pipeline';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import type { BroughtFile, FromBring, OwnModel, SavedFile } from '../protocol.ts';
import { alone } from './alone.ts';
import { loadBase } from './base.ts';
import { broughtFiles } from './checkpoint-files.ts';
import { fromForm } from './own-config.ts';
import { keptSettings, nameOwnRun, ownId, ownStorage } from './own-kept.ts';
import type { BroughtPolicy } from './own-policy.ts';
import { pictureOf } from './picture.ts';
import { finishedRun } from './saved.ts';

interface OwnRun {
  readonly policy: BroughtPolicy;
  readonly checkpoint: readonly BroughtFile[];
  /** The settings in Train. */
  readonly config: RunConfig;
  readonly on: OwnModel;
  readonly train: boolean;
  /** Whether what is kept is discarded first. */
  readonly fresh: boolean;
  readonly signal: AbortSignal;
  readonly post: (message: FromBring) => void;
}

/** The size of the pictures that the tiny base was trained on; others are drawn to it. */
const [WIDTH, HEIGHT] = [128, 64];

/** What came of it. */
interface OwnEnd {
  /** In the middle of training. */
  readonly stopped: boolean;
  /** Of a run that is complete now. */
  readonly files: readonly SavedFile[];
}

/** Measures, trains when that is wanted, and measures again. A run that was stopped goes on, with its own settings. */
export async function ownRun(run: OwnRun): Promise<OwnEnd> {
  if (!run.train) return ownPass(run, memoryStorage(), fromForm(run.config, run.on));
  const id = await ownId(run.policy, run.on.type === 'checkpoint' ? run.checkpoint : undefined);
  return alone(`trimpi-own-${id}`, async () => {
    const storage = await ownStorage(id);
    if (run.fresh) await storage.clear();
    const settings = (await keptSettings(storage)) ?? fromForm(run.config, run.on);
    await nameOwnRun(storage, { policy: run.policy.own.name, on: run.on.type });
    const { stopped } = await ownPass(run, storage, settings);
    return { stopped, files: stopped ? [] : ((await finishedRun(storage))?.files ?? []) };
  });
}

async function ownPass({ policy, checkpoint, on, train, signal, post }: OwnRun, storage: RunStorage, settings: InternaliseConfig): Promise<OwnEnd> {
  const { own } = policy;
  const score = makeScorer(own.scorer);
  const pictures = await readPictures(policy, on.type === 'base' ? drawn : whole, post, signal);
  const examples = ownExamples(own, (name) => pictures.get(name)!).map((example, i): ChatExample => ({ example: on.type === 'base' ? inWords(example) : example, score: (completion) => score(completion, own.rows[i]!.answer) }));
  const device = await openDevice({ powerPreference: 'high-performance' });
  const engine = new WebGpuEngine(device);
  // A lost device may leave a promise that never settles: the page hears of it here and ends this worker.
  void device.lost.then(({ reason, message }) => {
    if (reason !== 'destroyed') post({ type: 'failed', failure: { code: 'device-lost', message } });
  });
  // Asking alone ends when the base has answered.
  const asked = new AbortController();
  let title = '';
  let stopped = false;
  try {
    const base: ModelFiles = on.type === 'base' ? await loadBase(on.url, () => undefined) : broughtFiles(checkpoint);
    const { maxBufferSize, maxStorageBufferBindingSize } = device.adapter;
    await internalise({
      config: settings, title: own.name, examples, engine, adapterName: device.adapter.description, base, storage,
      signal: AbortSignal.any([signal, asked.signal]),
      ...(on.type === 'base' ? {} : { limits: { maxBufferSize, maxStorageBufferBindingSize, memory: on.memory * 2 ** 30 } }),
      onEvent(event) {
        switch (event.type) {
          case 'stage':
            ({ title } = event);
            break;
          case 'progress':
            post({ type: 'own-progress', what: event.what, done: event.done, of: event.of });
            break;
          case 'step':
            post({ type: 'own-step', title, event });
            break;
          case 'evaluated':
            post({ type: 'own-measured', measure: { title: event.stage === 'in-context' ? event.title : `${event.title}, without the policy`, right: Math.round(event.accuracy * event.n), of: event.n, promptTokens: event.promptTokens, outcomes: event.shown.map(({ id, text, correct }) => ({ id, text, right: correct })) } });
            if (!train && event.stage === 'base') asked.abort();
            break;
          case 'note':
            break;
          default:
            event satisfies never;
        }
      },
    }).catch((error: unknown) => {
      if (!(error instanceof PipelineError && error.code === 'interrupted')) throw error;
      stopped = signal.aborted;
    });
  } finally {
    engine.dispose();
  }
  return { stopped, files: [] };
}

/** An example as the tiny base writes: words with one space between them. */
function inWords(example: Example): Example {
  const words = (text: string) => text.split(/\s+/).filter((w) => w !== '').join(' ');
  const policyText = words(example.policyText);
  return { ...example, policyText, policyParts: [{ type: 'text', text: policyText }], query: words(example.query), response: `<think> ${words(example.reasoning)} </think> \\boxed{ ${words(example.answer)} }` };
}

/** All pictures that the policy and its rows show, each once. */
async function readPictures({ own, files }: BroughtPolicy, read: (file: File) => Promise<RgbImage>, post: (message: FromBring) => void, signal: AbortSignal): Promise<Map<string, RgbImage>> {
  const names = [...new Set([...own.policyImages, ...own.rows.flatMap((r) => r.images)])];
  const out = new Map<string, RgbImage>();
  for (const [i, name] of names.entries()) {
    signal.throwIfAborted();
    out.set(name, await read(files.get(name)!));
    if (i % 8 === 7 || i === names.length - 1) post({ type: 'own-progress', what: 'Reading pictures', done: i + 1, of: names.length });
  }
  return out;
}

async function whole(file: File): Promise<RgbImage> {
  const image = await pictureOf(file);
  return { width: image.width, height: image.height, rgb: toRgb(image) };
}

/** A picture in the size that the tiny base knows. */
async function drawn(file: File): Promise<RgbImage> {
  const bitmap = await createImageBitmap(file).catch((cause: unknown) => {
    throw Object.assign(new Error(`${file.name} is no picture that this browser can read. Use PNG, JPEG or WebP.`, { cause }), { code: 'bad-image' });
  });
  const context = new OffscreenCanvas(WIDTH, HEIGHT).getContext('2d', { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0, WIDTH, HEIGHT);
  bitmap.close();
  const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
  const rgb = new Uint8Array(WIDTH * HEIGHT * 3);
  for (let i = 0, o = 0; i < data.length; i += 4, o += 3) rgb.set(data.subarray(i, i + 3), o);
  return { width: WIDTH, height: HEIGHT, rgb };
}
