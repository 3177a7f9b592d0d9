import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '@trimpi/model/node';
import type { CheckpointFiles } from '../checkpoints.ts';

/** Checkpoints in a folder, each file written beside, synced and renamed. Throws ModelError `io`. */
export function checkpointFolder(folder: string): CheckpointFiles {
  mkdirSync(folder, { recursive: true });
  return {
    async read(file) {
      try {
        return new Uint8Array(await readFile(join(folder, file)));
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw cause;
      }
    },
    write: (file, data) => writeFileAtomic(join(folder, file), data),
  };
}
