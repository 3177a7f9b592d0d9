/** @file A run's files in the origin-private file system, each replaced as a whole. */
import { PipelineError, type RunStorage } from '@trimpi/pipeline';

/** A run's storage, with what the page needs beyond it. */
export interface PageStorage extends RunStorage {
  /** Whether the files outlive the page. */
  readonly keepsFiles: boolean;
  /** The file for a download, or null. */
  blob(file: string): Promise<Blob | null>;
  clear(): Promise<void>;
}

/** Handles of a worker; TypeScript's DOM library leaves them out. */
interface WorkerFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<{ write(data: Uint8Array): number; truncate(size: number): void; flush(): void; close(): void }>;
  move(name: string): Promise<void>;
}

/** The folder of Train's run, which is there in any case. */
const TRIED = 'trimpi-run';

/** Null where the browser has no such file system (private windows of some). A folder is made with its first file. */
export async function opfsStorage(folder: string): Promise<PageStorage | null> {
  let root: FileSystemDirectoryHandle;
  try {
    root = await navigator.storage.getDirectory();
    // Some give a root in which nothing can be made.
    await root.getDirectoryHandle(TRIED, { create: true });
  } catch {
    return null;
  }
  const place = async (file: string, create: boolean) => {
    const parts = file.split('/');
    let directory = await root.getDirectoryHandle(folder, { create });
    for (const part of parts.slice(0, -1)) directory = await directory.getDirectoryHandle(part, { create });
    return { directory, name: parts.at(-1)! };
  };
  const blob = async (file: string): Promise<Blob | null> => {
    try {
      const { directory, name } = await place(file, false);
      return await (await directory.getFileHandle(name)).getFile();
    } catch (cause) {
      if (cause instanceof DOMException && cause.name === 'NotFoundError') return null;
      throw new PipelineError('storage', file, `cannot be read (${reason(cause)}).`, 'Load the page again; if it stays so, discard the run.', { cause });
    }
  };
  return {
    name: 'the storage of this page',
    keepsFiles: true,
    blob,
    async read(file) {
      const found = await blob(file);
      return found === null ? null : new Uint8Array(await found.arrayBuffer());
    },
    async write(file, data) {
      try {
        const { directory, name } = await place(file, true);
        await replace(directory, name, typeof data === 'string' ? new TextEncoder().encode(data) : data);
      } catch (cause) {
        throw new PipelineError('storage', file, `could not be written (${reason(cause)}).`, 'Make room on this device and start again: what was saved before is still there, and the run goes on from it.', { cause });
      }
    },
    async clear() {
      await root.removeEntry(folder, { recursive: true }).catch((cause: unknown) => {
        if (!(cause instanceof DOMException && cause.name === 'NotFoundError')) throw cause;
      });
    },
  };
}

/** `createWritable` writes beside the file and swaps on `close`; Safari before 26 has only handles, and a rename. */
async function replace(directory: FileSystemDirectoryHandle, name: string, data: Uint8Array): Promise<void> {
  if ('createWritable' in FileSystemFileHandle.prototype) {
    const stream = await (await directory.getFileHandle(name, { create: true })).createWritable();
    try {
      await stream.write(data as Uint8Array<ArrayBuffer>);
      await stream.close();
    } catch (cause) {
      await stream.abort().catch(() => undefined);
      throw cause;
    }
    return;
  }
  const beside = (await directory.getFileHandle(`${name}.new`, { create: true })) as WorkerFileHandle;
  const access = await beside.createSyncAccessHandle();
  try {
    access.truncate(0);
    if (access.write(data) !== data.byteLength) throw new Error('the device is full');
    access.flush();
  } finally {
    access.close();
  }
  await beside.move(name);
}

function reason(cause: unknown): string {
  return cause instanceof DOMException && cause.name === 'QuotaExceededError' ? 'this device has no room left' : cause instanceof Error ? cause.message : String(cause);
}
