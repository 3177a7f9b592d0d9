/** @file A folder with the files of a model: on disk, on a server, in a browser's file system, in memory. */
import { ModelError } from '../errors.ts';
import { blobSource, bytesSource, readText, type ByteSource } from '../safetensors/byte-source.ts';

/** Opens files by their name in the folder. */
export interface ModelFiles {
  /** What errors call it. */
  readonly name: string;
  /** The file, or null when there is none of this name. */
  open(file: string): Promise<ByteSource | null>;
}

/** Files in memory. */
export function memoryFiles(files: Readonly<Record<string, Uint8Array | string>>, name = 'memory'): ModelFiles {
  return {
    name,
    open: async (file) => {
      const content = Object.hasOwn(files, file) ? files[file] : undefined;
      if (content === undefined) return null;
      return bytesSource(typeof content === 'string' ? new TextEncoder().encode(content) : content, file);
    },
  };
}

/** A folder of the File System Access API, or of the origin-private file system (OPFS). */
export function directoryHandleFiles(directory: FileSystemDirectoryHandle): ModelFiles {
  return {
    name: directory.name,
    open: async (file) => {
      try {
        return blobSource(await (await directory.getFileHandle(file)).getFile(), file);
      } catch (cause) {
        if (cause instanceof DOMException && cause.name === 'NotFoundError') return null;
        throw new ModelError('io', { argument: directory.name, value: file, message: 'could not be opened', remedy: 'Grant access to the folder again.', cause });
      }
    },
  };
}

/** The text of a file that must be there. @throws ModelError `not-found`. */
export async function requireText(files: ModelFiles, file: string): Promise<string> {
  const source = await files.open(file);
  if (source === null) {
    throw new ModelError('not-found', { argument: files.name, value: file, message: 'has no such file', remedy: 'Point to a folder with all files of the model.' });
  }
  return readText(source);
}
