/** @file Writes checkpoints and adapters that transformers and PEFT load. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { requireInteger } from '../checks.ts';
import { configToJson } from '../config-json.ts';
import type { ModelConfig } from '../config.ts';
import { adapterFiles, type Adapter } from '../lora/peft-files.ts';
import { WEIGHTS_FILE, WEIGHTS_INDEX_FILE } from '../safetensors/checkpoint.ts';
import { DTYPE_BYTES, elementCount } from '../safetensors/dtype.ts';
import { publishedKey } from '../safetensors/key-layout.ts';
import { checkTensorSize, type LazyTensor, planSafetensors, type TensorData } from '../safetensors/writer.ts';
import { ioError, writeBeside, writeFileAtomic, type PendingFile } from './atomic-write.ts';

/** A tensor at hand, or one that is fetched when it is written. */
export type SavedTensor = LazyTensor | TensorData;

/** One safetensors file, atomically. */
export async function writeSafetensors(path: string, tensors: ReadonlyMap<string, SavedTensor>): Promise<void> {
  await (await writeSafetensorsBeside(path, tensors)).commit();
}

async function writeSafetensorsBeside(path: string, tensors: ReadonlyMap<string, SavedTensor>): Promise<PendingFile> {
  const { header, names, sizes } = planSafetensors(tensors);
  async function* parts(): AsyncGenerator<Uint8Array> {
    yield header;
    for (const [i, name] of names.entries()) {
      const tensor = tensors.get(name);
      if (tensor !== undefined) yield checkTensorSize(name, 'data' in tensor ? tensor.data : await tensor.read(), sizes[i] ?? 0);
    }
  }
  return writeBeside(path, parts());
}

/**
 * Writes `config.json` and the weights into a folder, in the key layout of the published files; more than
 * `maxShardBytes` go into several files with an index. All files are complete on the disk before the first takes its
 * place, and the index comes last; files of an older save that are no longer wanted are then removed.
 * @param tensors by in-memory name, as `VisionLanguageModel.tensors` gives them.
 * @throws ModelError `invalid-input`; `io`: what was there is untouched, or, where a finished file could not take its place,
 * files before it have taken theirs. Nothing unfinished stays.
 */
export async function saveCheckpoint(
  folder: string,
  config: ModelConfig,
  tensors: ReadonlyMap<string, SavedTensor>,
  options: { readonly maxShardBytes?: number } = {},
): Promise<void> {
  const { maxShardBytes = 5e9 } = options;
  requireInteger('maxShardBytes', maxShardBytes, 'Give the bytes of a file, or leave it out.');
  const shards: Map<string, SavedTensor>[] = [];
  let room = 0;
  let total = 0;
  for (const [name, tensor] of tensors) {
    const bytes = elementCount(tensor.shape, name) * DTYPE_BYTES[tensor.dtype];
    total += bytes;
    if (shards.length === 0 || bytes > room) {
      shards.push(new Map());
      room = maxShardBytes;
    }
    room -= bytes;
    shards.at(-1)?.set(publishedKey(name, config.modelType), tensor);
  }
  const names = shards.length <= 1 ? [WEIGHTS_FILE] : shards.map((_, i) => `model-${pad(i + 1)}-of-${pad(shards.length)}.safetensors`);
  await makeFolder(folder);
  const pending: PendingFile[] = [];
  try {
    for (const [i, name] of names.entries()) pending.push(await writeSafetensorsBeside(join(folder, name), shards[i] ?? new Map()));
    pending.push(await writeText(join(folder, 'config.json'), configToJson(config)));
    if (names.length > 1) {
      const weightMap = shards.flatMap((shard, i) => [...shard.keys()].map((key) => [key, names[i]] as const));
      weightMap.sort(([a], [b]) => (a < b ? -1 : 1));
      pending.push(await writeText(join(folder, WEIGHTS_INDEX_FILE), { metadata: { total_size: total }, weight_map: Object.fromEntries(weightMap) }));
    }
    for (const file of pending) await file.commit();
  } catch (error) {
    await Promise.all(pending.map((file) => file.discard()));
    throw error;
  }
  const wanted = new Set(names.length > 1 ? [...names, WEIGHTS_INDEX_FILE] : names);
  try {
    // An older single file would be read in place of the shards.
    for (const file of await readdir(folder)) {
      if (/^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/.test(file) && !wanted.has(file)) await rm(join(folder, file), { force: true });
    }
  } catch (cause) {
    throw ioError(folder, cause);
  }
}

/** Writes an adapter's two files into a folder, each atomically, the config last. */
export async function saveAdapter(folder: string, adapter: Adapter, baseModelNameOrPath = ''): Promise<void> {
  const files = adapterFiles(adapter, baseModelNameOrPath);
  await makeFolder(folder);
  await writeFileAtomic(join(folder, 'adapter_model.safetensors'), files['adapter_model.safetensors']);
  await writeFileAtomic(join(folder, 'adapter_config.json'), files['adapter_config.json']);
}

function writeText(path: string, json: unknown): Promise<PendingFile> {
  return writeBeside(path, [new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`)]);
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw ioError(folder, cause);
  }
}

function pad(n: number): string {
  return String(n).padStart(5, '0');
}
