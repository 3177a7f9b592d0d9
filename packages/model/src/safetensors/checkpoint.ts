/** @file A checkpoint of one or several safetensors files, under the in-memory names. */
import { ModelError } from '../errors.ts';
import type { ModelFiles } from '../files/model-files.ts';
import { isObject, parseJsonObject } from '../json-fields.ts';
import { readText } from './byte-source.ts';
import type { TensorInfo } from './header.ts';
import { canonicalKey } from './key-layout.ts';
import { SafetensorsFile } from './reader.ts';

export const WEIGHTS_FILE = 'model.safetensors';
export const WEIGHTS_INDEX_FILE = 'model.safetensors.index.json';

/** All tensors of a model, by in-memory name. Headers are in memory, data is read when asked for. */
export interface Checkpoint {
  /** Sorted, so that a walk over them reads every file from front to back. */
  readonly names: readonly string[];
  has(name: string): boolean;
  /** dtype and shape; `name` is that in the file. */
  info(name: string): TensorInfo;
  readBytes(name: string, offset?: number, length?: number): Promise<Uint8Array>;
  readFloat32(name: string): Promise<Float32Array>;
}

/**
 * Opens `model.safetensors`, or without it all shards of `model.safetensors.index.json`; an index beside a single file is
 * left over from another save, and transformers does not read it either.
 * @throws ModelError `not-found` without either, `invalid-safetensors` for a bad file, a tensor in two shards, one
 * that the index promises and no shard has, or one that comes in both key layouts.
 */
export async function openCheckpoint(files: ModelFiles): Promise<Checkpoint> {
  const single = await files.open(WEIGHTS_FILE);
  if (single !== null) {
    const file = await SafetensorsFile.open(single);
    return checkpointOf(new Map([...file.tensors.keys()].map((name) => [name, file])));
  }
  const index = await files.open(WEIGHTS_INDEX_FILE);
  if (index === null) throw missing(files, WEIGHTS_FILE);
  const shards = shardsOf(await readText(index));
  const open = new Map<string, SafetensorsFile>();
  for (const shard of new Set(shards.values())) {
    const source = await files.open(shard);
    if (source === null) throw missing(files, shard);
    open.set(shard, await SafetensorsFile.open(source));
  }
  const found = new Map<string, SafetensorsFile>();
  for (const [name, shard] of shards) {
    const file = open.get(shard);
    if (file?.tensors.has(name)) found.set(name, file);
    else {
      throw new ModelError('invalid-safetensors', { argument: WEIGHTS_INDEX_FILE, value: name, message: `puts a tensor into ${shard} that is not there`, remedy: 'Fetch the shard again.' });
    }
  }
  for (const [shard, file] of open) {
    for (const name of file.tensors.keys()) {
      if (shards.get(name) !== shard) {
        throw new ModelError('invalid-safetensors', { argument: shard, value: name, message: 'holds a tensor that the index does not put there', remedy: 'Fetch the index and the shards again, all of one revision.' });
      }
    }
  }
  return checkpointOf(found);
}

function missing(files: ModelFiles, name: string): ModelError {
  return new ModelError('not-found', { argument: files.name, value: name, message: 'has no such file', remedy: 'Point to a folder with model.safetensors, or its index and all shards.' });
}

function shardsOf(text: string): Map<string, string> {
  const map = parseJsonObject(text, WEIGHTS_INDEX_FILE, 'invalid-safetensors')['weight_map'];
  if (!isObject(map) || Object.keys(map).length === 0) {
    throw new ModelError('invalid-safetensors', { argument: `${WEIGHTS_INDEX_FILE}.weight_map`, value: map, message: 'must name a file for every tensor', remedy: 'Fetch the index again.' });
  }
  const shards = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    // A shard is a plain file name beside the index, never a path to somewhere else.
    if (typeof shard !== 'string' || !/^[\w][\w.-]*\.safetensors$/.test(shard)) {
      throw new ModelError('invalid-safetensors', { argument: `${WEIGHTS_INDEX_FILE}.weight_map`, value: shard, message: 'must name files beside the index', remedy: 'Fetch the index again.' });
    }
    shards.set(name, shard);
  }
  return shards;
}

function checkpointOf(files: ReadonlyMap<string, SafetensorsFile>): Checkpoint {
  const byName = new Map<string, { file: SafetensorsFile; key: string }>();
  for (const [key, file] of files) {
    const name = canonicalKey(key);
    if (byName.has(name)) {
      throw new ModelError('invalid-safetensors', { argument: file.source.name, value: key, message: 'holds this tensor in both key layouts', remedy: 'Save the model again in one layout.' });
    }
    byName.set(name, { file, key });
  }
  const find = (name: string): { file: SafetensorsFile; key: string } => {
    const found = byName.get(name);
    if (found === undefined) {
      throw new ModelError('tensor-mismatch', { argument: 'checkpoint', value: name, message: 'has no tensor of this name', remedy: 'Check that config.json and the weights belong together.' });
    }
    return found;
  };
  return {
    names: [...byName.keys()].toSorted((a, b) => order(find(a), find(b))),
    has: (name) => byName.has(name),
    info: (name) => {
      const { file, key } = find(name);
      return file.info(key);
    },
    readBytes: (name, offset, length) => {
      const { file, key } = find(name);
      return file.readBytes(key, offset, length);
    },
    readFloat32: (name) => {
      const { file, key } = find(name);
      return file.readFloat32(key);
    },
  };
}

function order(a: { file: SafetensorsFile; key: string }, b: { file: SafetensorsFile; key: string }): number {
  if (a.file !== b.file) return a.file.source.name < b.file.source.name ? -1 : 1;
  return a.file.info(a.key).begin - b.file.info(b.key).begin || (a.key < b.key ? -1 : 1);
}
