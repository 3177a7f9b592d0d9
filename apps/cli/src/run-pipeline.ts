/** @file A run with its progress on the terminal, for `demo` and `train`. */
import { resolve } from 'node:path';
import type { RunReport } from '@trimpi/eval';
import type { RunEvent, RunStorage } from '@trimpi/pipeline';
import { folderStorage } from '@trimpi/pipeline/node';
import type { Engine } from '@trimpi/runtime';
import { checkPlace } from './folder.ts';
import { deviceLimits } from './model/load.ts';
import { Progress } from './progress.ts';
import { reportTable } from './table.ts';
import { type Matmul, openTrainingEngine } from './training-engine.ts';

/** What a run is started with. */
export interface RunPlace {
  readonly engine: Engine;
  readonly adapterName: string;
  readonly limits: ReturnType<typeof deviceLimits>;
  readonly storage: RunStorage;
  readonly onEvent: (event: RunEvent) => void;
  readonly signal: AbortSignal;
}

export interface PipelineRun {
  /** The first words of the first line. */
  readonly title: string;
  readonly seed: number;
  readonly out: string;
  /** Events as lines of JSON, the report last. */
  readonly json: boolean;
  readonly matmul?: Matmul;
  /** What it leaves besides the report. */
  readonly leaves: string;
  readonly start: (place: RunPlace) => Promise<RunReport>;
}

/** Ctrl-C stops after the step under way with everything saved; pressed twice, at once. */
export async function runPipeline({ title, seed, out, json, matmul, leaves, start }: PipelineRun): Promise<void> {
  checkPlace(out);
  const storage = folderStorage(resolve(out));
  const { engine, name, note } = await openTrainingEngine(matmul);
  const adapterName = name + note;
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130);
    const note = 'Stopping after this step; everything will be saved. (Once more: at once.)';
    console.error(json ? JSON.stringify({ type: 'note', text: note }) : `\n${note}`);
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const progress = json ? undefined : new Progress();
  try {
    if (!json) console.log(`TriMPI ${title}: ${adapterName}${engine.device.adapter.software ? ' (software)' : ''}, seed ${seed}, ${storage.name}`);
    const report = await start({ engine, adapterName, limits: deviceLimits(engine), storage, onEvent: (e) => (progress === undefined ? console.log(JSON.stringify(e)) : progress.show(e)), signal: stop.signal });
    progress?.end();
    if (json) console.log(JSON.stringify({ type: 'report', out: resolve(out), report }));
    else {
      console.log(`\n${reportTable(report)}\n`);
      for (const f of report.findings) console.log(`- ${f}`);
      console.log(`\n${report.seconds.toFixed(0)} s in all. Report: ${resolve(out, 'report.html')} and report.json; ${leaves}`);
    }
  } finally {
    progress?.end();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    engine.dispose();
  }
}
