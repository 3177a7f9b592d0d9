/** @file What a run writes down so that it can go on: weights and state in one file, replaced as a whole. */
import { bytesSource, floatTensor, SafetensorsFile, serializeSafetensors } from '@trimpi/model';
import { PipelineError } from './errors.ts';
import type { RunStorage } from './storage.ts';

export interface Snapshot {
  readonly tensors: ReadonlyMap<string, Float32Array>;
  /** Any JSON. */
  readonly state: unknown;
}

export async function saveSnapshot(storage: RunStorage, file: string, snapshot: Snapshot): Promise<void> {
  const tensors = new Map([...snapshot.tensors].map(([name, data]) => [name, floatTensor(data, [data.length])] as const));
  await storage.write(file, serializeSafetensors(tensors, { format: 'pt', state: JSON.stringify(snapshot.state) }));
}

/** Null when there is no such file. Throws `invalid-checkpoint` for one that is damaged. */
export async function loadSnapshot(storage: RunStorage, file: string): Promise<Snapshot | null> {
  const bytes = await storage.read(file);
  if (bytes === null) return null;
  try {
    const open = await SafetensorsFile.open(bytesSource(bytes, file));
    const tensors = new Map<string, Float32Array>();
    for (const name of open.tensors.keys()) tensors.set(name, await open.readFloat32(name));
    return { tensors, state: JSON.parse(open.metadata['state'] ?? 'null') as unknown };
  } catch (cause) {
    throw new PipelineError('invalid-checkpoint', `${storage.name}/${file}`, `is damaged (${cause instanceof Error ? cause.message : String(cause)}).`, 'Delete this file to begin its stage again; the other files of the run stay usable.', { cause });
  }
}
