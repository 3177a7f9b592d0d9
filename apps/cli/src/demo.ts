import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { resolveConfig, run, type RunConfig } from '@trimpi/pipeline';
import { folderStorage, tinyBase } from '@trimpi/pipeline/node';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { UsageError } from './errors.ts';
import { Progress } from './progress.ts';
import { reportTable } from './table.ts';

interface DemoOptions {
  readonly out: string;
  readonly seed: string;
  readonly config?: string;
}

export async function demo(options: DemoOptions): Promise<void> {
  if (!/^\d+$/.test(options.seed)) throw new UsageError(`--seed is ${JSON.stringify(options.seed)}. Give a whole number from 0.`);
  const config = resolveConfig({ ...readConfig(options.config), seed: Number(options.seed) });
  const storage = folderStorage(resolve(options.out));
  const device = await openDevice();
  const engine = new WebGpuEngine(device);
  const adapterName = [device.adapter.vendor, device.adapter.description || device.adapter.architecture].filter((s) => s !== '').join(' ');
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130);
    console.error('\nStopping after this step; everything will be saved. (Once more: at once.)');
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const progress = new Progress();
  try {
    console.log(`TriMPI demo: ${adapterName}${device.adapter.software ? ' (software)' : ''}, seed ${config.seed}, ${storage.name}`);
    const report = await run({ config, engine, adapterName, base: tinyBase(), storage, onEvent: (e) => progress.show(e), signal: stop.signal });
    progress.end();
    console.log(`\n${reportTable(report)}\n`);
    for (const f of report.findings) console.log(`- ${f}`);
    console.log(`\n${report.seconds.toFixed(0)} s in all. Report: ${resolve(options.out, 'report.html')} and report.json; model: ${resolve(options.out, 'model')}`);
  } finally {
    progress.end();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    engine.dispose();
  }
}

function readConfig(file: string | undefined): Partial<RunConfig> {
  if (file === undefined) return {};
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<RunConfig>;
  } catch (cause) {
    throw new UsageError(`--config ${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}. Give a JSON file.`);
  }
}
