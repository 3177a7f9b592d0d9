/** @file A folder that was brought, as files of a model: read by range, never as a whole. */
import { blobSource, type ModelFiles } from '@trimpi/model';
import type { BroughtFile } from '../protocol.ts';

/**
 * @param onRead gets the bytes of every read.
 * @param signal ends the next read with its reason.
 */
export function broughtFiles(brought: readonly BroughtFile[], onRead: (bytes: number) => void = () => undefined, signal?: AbortSignal): ModelFiles {
  const files = new Map(brought.map(({ name, file }) => [name, file]));
  return {
    name: 'this folder',
    open: async (name) => {
      const file = files.get(name);
      if (file === undefined) return null;
      const source = blobSource(file, name);
      return {
        ...source,
        read: async (offset, length) => {
          signal?.throwIfAborted();
          const bytes = await source.read(offset, length);
          onRead(length);
          return bytes;
        },
      };
    },
  };
}
