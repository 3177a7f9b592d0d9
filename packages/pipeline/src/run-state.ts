/** @file What a run knows of itself between sessions (`run.json`). */
import { canonicalJson } from '@trimpi/datasets';
import type { Curve, RunReport, StageReport } from '@trimpi/eval';
import type { RunConfig } from './config.ts';
import { PipelineError } from './errors.ts';
import type { RunStorage } from './storage.ts';

export interface Finished {
  readonly report: StageReport;
  readonly curves: readonly Curve[];
  /** Completions of the examples that the report shows. */
  readonly shown: readonly { readonly text: string; readonly correct: boolean }[];
  /** Which test questions were answered right, for paired tests (runs of 0.1 did not keep it). */
  readonly correct?: readonly boolean[];
}

/** What a run is made from besides its settings, as digests. */
export interface Origins {
  readonly base: string;
  /** Where the settings do not say the data. */
  readonly data?: string;
}

export interface RunState<Config = RunConfig> {
  readonly version: 1;
  readonly config: Config;
  /** Runs of 28 November 2026 and before did not keep it. */
  readonly from?: Origins;
  readonly inContext?: RunReport['inContext'];
  readonly finished: readonly Finished[];
  readonly seconds: number;
}

const STATE_FILE = 'run.json';

/**
 * The state of a run that was stopped, or that of a new one in an empty folder.
 * @throws PipelineError for a damaged file, and for a folder with a run of other settings, another base or other data.
 */
export async function openRunState<Config>(storage: RunStorage, config: Config, from: Origins): Promise<RunState<Config>> {
  const bytes = await storage.read(STATE_FILE);
  if (bytes === null) return { version: 1, config, from, finished: [], seconds: 0 };
  let state: RunState<Config>;
  try {
    state = JSON.parse(new TextDecoder().decode(bytes)) as RunState<Config>;
    if (state.version !== 1 || !Array.isArray(state.finished)) throw new Error('it has not the form of a run');
  } catch (cause) {
    throw new PipelineError('invalid-checkpoint', `${storage.name}/${STATE_FILE}`, `cannot be read (${cause instanceof Error ? cause.message : String(cause)}).`, 'Give another folder, or delete the file to begin again.', { cause });
  }
  if (canonicalJson(state.config) !== canonicalJson(config)) {
    throw new PipelineError('invalid-option', storage.name, 'holds a run with other settings or another seed.', 'Give the same ones to go on, or another --out.');
  }
  const changed = (['base', 'data'] as const).find((what) => state.from?.[what] !== undefined && from[what] !== undefined && state.from[what] !== from[what]);
  if (changed !== undefined) {
    throw new PipelineError('invalid-option', storage.name, changed === 'base' ? 'holds a run from another base: the weights that it began with are not these.' : 'holds a run on other data: its policy or its examples are not these.', `Go on with ${changed === 'base' ? 'that base' : 'what it had'}, or give another --out.`);
  }
  return { ...state, from };
}

export async function saveRunState(storage: RunStorage, state: RunState<unknown>): Promise<void> {
  await storage.write(STATE_FILE, JSON.stringify(state));
}
