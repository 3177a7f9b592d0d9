/** @file Files and folders on disk. */
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ModelError } from '../errors.ts';
import type { ModelFiles } from '../files/model-files.ts';
import { checkLength, checkRange, type ByteSource } from '../safetensors/byte-source.ts';
import { ioError } from './atomic-write.ts';

/** A file on disk, read by range. */
export function fileSource(path: string | URL): ByteSource {
  const name = typeof path === 'string' ? path : fileURLToPath(path);
  const size = async (): Promise<number> => {
    try {
      return (await stat(name)).size;
    } catch (cause) {
      throw isMissing(cause) ? new ModelError('not-found', { argument: 'path', value: name, message: 'is not there', remedy: 'Check the path.', cause }) : ioError(name, cause);
    }
  };
  return {
    name,
    size,
    read: async (offset, length) => {
      checkRange(name, offset, length, await size());
      const out = new Uint8Array(length);
      try {
        const file = await open(name, 'r');
        try {
          let filled = 0;
          while (filled < length) {
            const { bytesRead } = await file.read(out, filled, Math.min(length - filled, 2 ** 30), offset + filled);
            if (bytesRead === 0) break;
            filled += bytesRead;
          }
          return checkLength(name, out.subarray(0, filled), offset, length);
        } finally {
          await file.close();
        }
      } catch (cause) {
        throw cause instanceof ModelError ? cause : ioError(name, cause);
      }
    },
  };
}

/** A folder on disk. */
export function folderFiles(path: string | URL): ModelFiles {
  const folder = typeof path === 'string' ? path : fileURLToPath(path);
  return {
    name: folder,
    open: async (file) => {
      const source = fileSource(join(folder, file));
      try {
        await source.size();
        return source;
      } catch (error) {
        if (error instanceof ModelError && error.code === 'not-found') return null;
        throw error;
      }
    },
  };
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
