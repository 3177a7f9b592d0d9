import { memoryStorage } from '@trimpi/pipeline';
import type { PageStorage } from './opfs.ts';

/** Files that live as long as the page. */
export function pageMemory(): PageStorage {
  const memory = memoryStorage();
  return {
    ...memory,
    name: 'memory of this page',
    keepsFiles: false,
    blob: async (file) => {
      const data = memory.files.get(file);
      return data === undefined ? null : new Blob([data as Uint8Array<ArrayBuffer>]);
    },
    clear: async () => memory.files.clear(),
  };
}
