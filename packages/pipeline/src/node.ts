/** @file What a run needs in Node: a folder to write to, and the base that comes with this package. */
import { fileURLToPath } from 'node:url';
import type { ModelFiles } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { PipelineError } from './errors.ts';
import { folderStorage } from './node/folder-storage.ts';
import { type ReproduceOptions, reproduceRows } from './reproduce/reproduce.ts';
import type { ReproduceResults } from './reproduce/results.ts';

export { pretrainProcesses } from './node/pretrain-processes.ts';
export { folderStorage };

/** The files of the tiny base that is shipped with this package (found from `src` and from `dist` alike). */
export function tinyBase(): ModelFiles {
  return folderFiles(fileURLToPath(new URL('../assets/tiny-base', import.meta.url)));
}

/** The base for a GPU: policies up to six deep, in words or with pictures, and GTAPolicy. */
export function smallBase(): ModelFiles {
  return folderFiles(fileURLToPath(new URL('../assets/small-base', import.meta.url)));
}

/** What `reproduce` takes; the engine is the default adapter's unless given, the base the smallest that is shipped and knows the words. */
export interface ReproduceInFolderOptions extends Omit<ReproduceOptions, 'engine' | 'adapterName' | 'base' | 'storage'>, Partial<Pick<ReproduceOptions, 'engine' | 'adapterName' | 'base'>> {
  readonly dir: string;
}

function baseFor({ scale, n, benchmarks = ['clevr-t'] }: Pick<ReproduceOptions, 'scale' | 'n' | 'benchmarks'>): ModelFiles {
  if (scale === 'full') throw new PipelineError('invalid-option', 'base', 'is missing.', 'Scale full needs the files of a Qwen2.5-VL checkpoint: folderFiles(path).');
  return benchmarks.every((b) => b === 'clevr-t') && [n].flat().every((depth) => depth <= 3) ? tinyBase() : smallBase();
}

/** Makes the paper's table in a folder, row by row, and goes on where it stopped. */
export async function reproduce({ dir, engine, adapterName, base, ...options }: ReproduceInFolderOptions): Promise<ReproduceResults> {
  const place = { ...options, base: base ?? baseFor(options), storage: folderStorage(dir) };
  if (engine !== undefined) return reproduceRows({ ...place, engine, adapterName: adapterName ?? engine.name });
  const device = await openDevice();
  try {
    return await reproduceRows({ ...place, engine: new WebGpuEngine(device), adapterName: adapterName ?? device.adapter.description });
  } finally {
    device.dispose();
  }
}
