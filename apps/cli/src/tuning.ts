import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '@trimpi/model/node';
import type { TuningStore } from '@trimpi/runtime';

/** Choices of kernel variants in a file. */
export function fileTuningStore(path: string): TuningStore {
  return {
    load: () => readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined;
      throw cause;
    }),
    save: (text) => writeFileAtomic(path, text),
  };
}
