import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFileAtomic } from '@trimpi/model/node';
import { PipelineError } from '../errors.ts';
import type { RunStorage } from '../storage.ts';

/** A run's files in a folder, each replaced atomically. Throws `storage` when the folder cannot be made. */
export function folderStorage(folder: string): RunStorage {
  const make = (path: string) => {
    try {
      mkdirSync(path, { recursive: true });
    } catch (cause) {
      throw new PipelineError('storage', folder, `cannot be made or written to (${message(cause)}).`, 'Give another folder with --out.', { cause });
    }
  };
  make(folder);
  return {
    name: folder,
    async read(file) {
      try {
        return new Uint8Array(await readFile(join(folder, file)));
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw new PipelineError('storage', join(folder, file), `cannot be read (${message(cause)}).`, 'Check the file and its rights.', { cause });
      }
    },
    async write(file, data) {
      make(join(folder, dirname(file)));
      await writeFileAtomic(join(folder, file), typeof data === 'string' ? new TextEncoder().encode(data) : data);
    },
  };
}

function message(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
