/** @file Runs on policies of the visitor's own, as they are kept: a folder for each policy and model, found again by what these hold. */
import type { InternaliseConfig, StageName } from '@trimpi/pipeline';
import type { BroughtFile, OwnMeasure, OwnModel, OwnRunView } from '../protocol.ts';
import { savedCurves } from './curves.ts';
import { pageMemory } from './memory.ts';
import { opfsStorage, type PageStorage } from './opfs.ts';
import type { BroughtPolicy } from './own-policy.ts';
import { finishedRun } from './saved.ts';

const PREFIX = 'trimpi-own-';
const NAME_FILE = 'own.json';
/** Of each end of a file of weights. */
const SAMPLED_BYTES = 2 ** 16;

/** What `run.json` holds of such a run. */
interface SavedState {
  readonly config: InternaliseConfig;
  readonly inContext?: Measured;
  readonly finished: readonly { readonly report: Measured & { readonly name: StageName; readonly title: string }; readonly shown: readonly { readonly text: string; readonly correct: boolean }[] }[];
}

interface Measured {
  readonly accuracy: number;
  readonly n: number;
  readonly promptTokens: number;
}

interface Named {
  readonly policy: string;
  readonly on: OwnModel['type'];
}

/** Where there is no file system, as long as the worker lives. */
const memories = new Map<string, PageStorage>();

export async function ownStorage(id: string): Promise<PageStorage> {
  const found = await opfsStorage(`${PREFIX}${id}`);
  if (found !== null) return found;
  const memory = memories.get(id) ?? pageMemory();
  memories.set(id, memory);
  return memory;
}

/** The same for the same texts, rows and pictures, and the same checkpoint, whatever their folders are called. */
export async function ownId({ own, files }: BroughtPolicy, checkpoint: readonly BroughtFile[] | undefined): Promise<string> {
  const pictures = [...new Set([...own.policyImages, ...own.rows.flatMap((r) => r.images)])].toSorted();
  const parts: BlobPart[] = [JSON.stringify([own.markdown, own.rows, own.scorer, pictures]), ...pictures.map((name) => files.get(name)!)];
  for (const { name, file } of (checkpoint ?? []).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (name === 'config.json' || name === 'tokenizer.json') parts.push(name, file);
    // Weights are too large to be read for this; their ends differ where they were trained.
    if (name.endsWith('.safetensors')) parts.push(`${name} ${file.size}`, file.slice(0, SAMPLED_BYTES), file.slice(-SAMPLED_BYTES));
  }
  const digest = await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer());
  return Array.from(new Uint8Array(digest).subarray(0, 12), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export async function nameOwnRun(storage: PageStorage, named: Named): Promise<void> {
  await storage.write(NAME_FILE, JSON.stringify(named));
}

/** The settings of a run that goes on. */
export async function keptSettings(storage: PageStorage): Promise<InternaliseConfig | undefined> {
  return (await json<SavedState>(storage, 'run.json'))?.config;
}

/** What a run has come to; undefined when nothing of it is saved. */
export async function keptOwnRun(id: string): Promise<OwnRunView | undefined> {
  const storage = await ownStorage(id);
  const [named, state] = [await json<Named>(storage, NAME_FILE), await json<SavedState>(storage, 'run.json')];
  if (named === undefined || state === undefined) return undefined;
  const { vmCpt, sft, rl, arms } = state.config;
  const measure = (title: string, { accuracy, n, promptTokens }: Measured, shown: SavedState['finished'][number]['shown']): OwnMeasure =>
    ({ title, right: Math.round(accuracy * n), of: n, promptTokens, outcomes: shown.map(({ text, correct }, i) => ({ id: String(i + 1), text, right: correct })) });
  return {
    id, ...named,
    measures: [...(state.inContext === undefined ? [] : [measure('Base, policy in the prompt', state.inContext, [])]), ...state.finished.map(({ report, shown }) => measure(`${report.title}, without the policy`, report, shown))],
    curves: await savedCurves(storage, ['vm-cpt', 'cot-sft', ...arms]),
    steps: { 'vm-cpt': vmCpt.steps, 'cot-sft': sft.steps, ...Object.fromEntries(arms.map((arm) => [arm, rl.steps])) },
    files: (await finishedRun(storage))?.files ?? [],
  };
}

export async function keptOwnRuns(): Promise<OwnRunView[]> {
  const root = await navigator.storage.getDirectory().catch(() => undefined);
  const ids = root === undefined ? [...memories.keys()] : await idsIn(root);
  const runs = await Promise.all(ids.map((id) => keptOwnRun(id).catch(() => undefined)));
  return runs.filter((run) => run !== undefined).toSorted((a, b) => (a.policy < b.policy ? -1 : 1));
}

async function idsIn(root: FileSystemDirectoryHandle): Promise<string[]> {
  const ids: string[] = [];
  for await (const name of (root as unknown as { keys(): AsyncIterable<string> }).keys()) if (name.startsWith(PREFIX)) ids.push(name.slice(PREFIX.length));
  return ids;
}

async function json<T>(storage: PageStorage, file: string): Promise<T | undefined> {
  const bytes = await storage.read(file);
  return bytes === null ? undefined : (JSON.parse(new TextDecoder().decode(bytes)) as T);
}
