import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { resolveConfig, run, type RunConfig } from '@trimpi/pipeline';
import { tinyBase } from '@trimpi/pipeline/node';
import { UsageError } from './errors.ts';
import { runPipeline } from './run-pipeline.ts';

interface DemoOptions {
  readonly out: string;
  readonly seed?: number;
  readonly config?: string;
  readonly json?: boolean;
}

export async function demo(options: DemoOptions): Promise<void> {
  const config = resolveConfig({ ...readConfig(options.config), ...(options.seed === undefined ? {} : { seed: options.seed }) });
  await runPipeline({ title: 'demo', seed: config.seed, out: options.out, json: options.json ?? false, leaves: `model: ${resolve(options.out, 'model')}`, start: (place) => run({ ...place, config, base: tinyBase() }) });
}

function readConfig(file: string | undefined): Partial<RunConfig> {
  if (file === undefined) return {};
  let config: unknown;
  try {
    config = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new UsageError(`--config ${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}. Give a JSON file.`);
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) throw new UsageError(`--config ${file} holds ${JSON.stringify(config).slice(0, 60)}. Give a JSON object with settings, such as { "n": 3 }.`);
  return config;
}
