import { PipelineError } from './errors.ts';

/** Where a run keeps its files: a folder in Node, OPFS or memory in a browser. */
export interface RunStorage {
  /** In words, for messages. */
  readonly name: string;
  /** The file's bytes, or null when there is none. */
  read(file: string): Promise<Uint8Array | null>;
  /** Replaces the file as a whole: after a failure the old one is still there. */
  write(file: string, data: Uint8Array | string): Promise<void>;
}

export function memoryStorage(): RunStorage & { readonly files: Map<string, Uint8Array> } {
  const files = new Map<string, Uint8Array>();
  return {
    name: 'memory',
    files,
    read: async (file) => files.get(file) ?? null,
    write: async (file, data) => void files.set(file, typeof data === 'string' ? new TextEncoder().encode(data) : data.slice()),
  };
}

/** Storage whose failures are typed and say that nothing saved before is lost. */
export function checkedStorage(storage: RunStorage): RunStorage {
  return {
    name: storage.name,
    read: (file) => storage.read(file),
    async write(file, data) {
      try {
        await storage.write(file, data);
      } catch (cause) {
        throw new PipelineError('storage', `${storage.name}/${file}`, `could not be written (${cause instanceof Error ? cause.message : String(cause)}).`, 'Make room or give another folder; what was saved before is still there, and the run goes on from it.', { cause });
      }
    },
  };
}
