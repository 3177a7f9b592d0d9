/** @file What an earlier visit left: settings, stages that are done, and the report of a complete run. */
import { ALGORITHMS, type RunConfig, type StageName } from '@trimpi/pipeline';
import { baseFor, type BaseName } from '../bases.ts';
import type { FinishedRun, SavedFile, SavedRun, StageResult } from '../protocol.ts';
import type { PageStorage } from './opfs.ts';

/** In the order in which they are offered. */
const OFFERED = [
  'report.html', 'report.json', 'adapter/adapter_model.safetensors', 'adapter/adapter_config.json',
  'model/model.safetensors', 'model/config.json', 'model/tokenizer.json', 'model/tokenizer_config.json',
  ...ALGORITHMS.map((name) => `completions-${name}.jsonl`),
];

export async function savedRun(storage: PageStorage): Promise<SavedRun | undefined> {
  const bytes = await storage.read('run.json');
  if (bytes === null) return undefined;
  const state = JSON.parse(new TextDecoder().decode(bytes)) as { readonly config: RunConfig; readonly finished: readonly { readonly report: SavedStage }[] };
  const finished = await finishedRun(storage);
  return { config: state.config, base: await keptBase(storage, state.config), done: state.finished.map(({ report }) => stageResult(report)), ...(finished === undefined ? {} : { finished }) };
}

/** What `run.json` holds of a stage that is done. */
export type SavedStage = Omit<StageResult, 'stage'> & { readonly name: StageName };

export function stageResult({ name, title, accuracy, low, high, n, calls }: SavedStage): StageResult {
  return { stage: name, title, accuracy, low, high, n, ...(calls === undefined ? {} : { calls }) };
}

const BASE_FILE = 'base.json';

/** The pipeline is given a base and does not ask which: it is written beside its files. */
export async function keepBase(storage: PageStorage, base: BaseName): Promise<void> {
  await storage.write(BASE_FILE, JSON.stringify(base));
}

/** Of runs that did not keep it, the one that followed from their settings. */
export async function keptBase(storage: PageStorage, config: RunConfig): Promise<BaseName> {
  const bytes = await storage.read(BASE_FILE);
  return baseFor(config, bytes !== null && JSON.parse(new TextDecoder().decode(bytes)) === 'small' ? 'small' : 'tiny');
}

export async function finishedRun(storage: PageStorage): Promise<FinishedRun | undefined> {
  const html = await storage.blob('report.html');
  const report = await storage.blob('report.json');
  if (html === null || report === null) return undefined;
  const files: SavedFile[] = [];
  for (const name of OFFERED) {
    const blob = await storage.blob(name);
    if (blob !== null && blob.size > 0) files.push({ name, blob });
  }
  const { findings } = JSON.parse(await report.text()) as { readonly findings: readonly string[] };
  return { html: await html.text(), findings, files };
}
