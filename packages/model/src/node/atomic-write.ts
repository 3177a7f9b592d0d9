/** @file Files that are there wholly or not at all: written beside, brought to the disk, renamed. */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ModelError, reasonOf } from '../errors.ts';

/** A finished file that waits beside its place. */
export interface PendingFile {
  /** Puts it into its place, over what is there. */
  commit(): Promise<void>;
  /** Removes it. */
  discard(): Promise<void>;
}

/** Writes the parts to a temporary file beside `path`. Nothing is left of it when that fails. @throws ModelError `io`. */
export async function writeBeside(path: string, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<PendingFile> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`;
  const discard = (): Promise<void> => rm(temporary, { force: true });
  try {
    const file = await open(temporary, 'wx');
    try {
      for await (const part of parts) {
        let at = 0;
        while (at < part.byteLength) at += (await file.write(part, at)).bytesWritten;
      }
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    await discard();
    throw cause instanceof ModelError ? cause : ioError(path, cause);
  }
  return {
    discard,
    commit: async () => {
      try {
        await rename(temporary, path);
        await syncFolder(dirname(path));
      } catch (cause) {
        await discard();
        throw ioError(path, cause);
      }
    },
  };
}

/** Writes a whole file atomically. @throws ModelError `io`; what was there before is then untouched. */
export async function writeFileAtomic(path: string, content: Uint8Array | string): Promise<void> {
  const pending = await writeBeside(path, [typeof content === 'string' ? new TextEncoder().encode(content) : content]);
  await pending.commit();
}

/** Brings a rename to the disk. Windows has no such thing. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

export function ioError(path: string, cause: unknown): ModelError {
  const full = typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === 'ENOSPC';
  return new ModelError('io', { argument: path, value: reasonOf(cause), message: 'could not be read or written', remedy: full ? 'Make room on the disk; what was saved before is untouched.' : 'Check the path and its permissions.', cause });
}
