/** @file What is kept of complete runs when the next one begins: settings, accuracies, rewards. */
import type { RunConfig } from '@trimpi/pipeline';
import type { RunSummary } from '../protocol.ts';
import { opfsStorage, type PageStorage } from './opfs.ts';
import { keptBase, type SavedStage, stageResult } from './saved.ts';

const FILE = 'runs.json';
const MOST_RUNS = 12;

let kept: Promise<PageStorage | null> | undefined;
/** Where files do not outlive the page, neither do runs. */
let memory: readonly RunSummary[] = [];

export async function keptRuns(): Promise<readonly RunSummary[]> {
  const bytes = await (await (kept ??= opfsStorage('trimpi-history')))?.read(FILE);
  if (bytes === undefined || bytes === null) return memory;
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as RunSummary[];
  } catch {
    return [];
  }
}

/** Keeps the complete run of `storage`, the newest last. */
export async function keepRun(storage: PageStorage): Promise<readonly RunSummary[]> {
  const bytes = await storage.read('run.json');
  if (bytes === null) return keptRuns();
  const { config, finished, seconds } = JSON.parse(new TextDecoder().decode(bytes)) as SavedState;
  const now = Date.now();
  const summary: RunSummary = {
    id: `${now}-${Math.round(seconds)}`, finishedAt: now, config, base: await keptBase(storage, config),
    stages: finished.map(({ report }) => stageResult(report)),
    rewards: finished.flatMap(({ report, curves }) => curves.filter((c) => c.name === 'reward').map((c) => ({ title: report.title, points: c.points }))),
  };
  return write([...(await keptRuns()), summary].slice(-MOST_RUNS));
}

export async function forgetRun(id: string): Promise<readonly RunSummary[]> {
  return write((await keptRuns()).filter((r) => r.id !== id));
}

async function write(runs: readonly RunSummary[]): Promise<readonly RunSummary[]> {
  memory = runs;
  await (await (kept ??= opfsStorage('trimpi-history')))?.write(FILE, JSON.stringify(runs));
  return runs;
}

interface SavedState {
  readonly config: RunConfig;
  readonly seconds: number;
  readonly finished: readonly {
    readonly report: SavedStage;
    readonly curves: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[];
  }[];
}
