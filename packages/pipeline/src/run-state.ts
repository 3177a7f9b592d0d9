/** @file What a run knows of itself between sessions (`run.json`). */
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

export interface RunState<Config = RunConfig> {
  readonly version: 1;
  readonly config: Config;
  readonly inContext?: RunReport['inContext'];
  readonly finished: readonly Finished[];
  readonly seconds: number;
}

const STATE_FILE = 'run.json';

/** The state of a run that was stopped; null in an empty folder. Refuses a damaged file and another run's folder. */
export async function loadRunState<Config>(storage: RunStorage, config: Config): Promise<RunState<Config> | null> {
  const bytes = await storage.read(STATE_FILE);
  if (bytes === null) return null;
  let state: RunState<Config>;
  try {
    state = JSON.parse(new TextDecoder().decode(bytes)) as RunState<Config>;
    if (state.version !== 1 || !Array.isArray(state.finished)) throw new Error('it has not the form of a run');
  } catch (cause) {
    throw new PipelineError('invalid-checkpoint', `${storage.name}/${STATE_FILE}`, `cannot be read (${cause instanceof Error ? cause.message : String(cause)}).`, 'Give another folder, or delete the file to begin again.', { cause });
  }
  if (JSON.stringify(state.config) !== JSON.stringify(config)) {
    throw new PipelineError('invalid-option', storage.name, 'holds a run with other settings or another seed.', 'Give the same ones to go on, or another --out.');
  }
  return state;
}

export async function saveRunState(storage: RunStorage, state: RunState<unknown>): Promise<void> {
  await storage.write(STATE_FILE, JSON.stringify(state));
}
