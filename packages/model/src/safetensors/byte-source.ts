/** @file Where bytes come from: anything of a known size that can be read by range. */
import { ModelError } from '../errors.ts';

/** A file, wherever it lies. Only the ranges that are asked for are read. */
export interface ByteSource {
  /** What errors call it: a path or an address. */
  readonly name: string;
  /** Size, bytes. */
  size(): Promise<number>;
  /** Exactly `length` bytes from `offset`; the array is the caller's. @throws ModelError `io` when they are not there. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Bytes in memory. */
export function bytesSource(bytes: Uint8Array, name = 'bytes'): ByteSource {
  return {
    name,
    size: () => Promise.resolve(bytes.byteLength),
    read: async (offset, length) => {
      checkRange(name, offset, length, bytes.byteLength);
      return bytes.slice(offset, offset + length);
    },
  };
}

/** A Blob or a File: what a file picker, the File System Access API and the origin-private file system (OPFS) give. */
export function blobSource(blob: Blob, name = 'name' in blob && typeof blob.name === 'string' ? blob.name : 'blob'): ByteSource {
  return {
    name,
    size: () => Promise.resolve(blob.size),
    read: async (offset, length) => {
      checkRange(name, offset, length, blob.size);
      let bytes: Uint8Array;
      try {
        bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      } catch (cause) {
        throw new ModelError('io', { argument: name, value: [offset, length], message: 'could not be read', remedy: 'Pick the file again: it may have been moved or changed.', cause });
      }
      return checkLength(name, bytes, offset, length);
    },
  };
}

/** Refuses a range outside of the file. */
export function checkRange(name: string, offset: number, length: number, size: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0 || offset + length > size) {
    throw new ModelError('io', { argument: name, value: [offset, length], message: `holds only ${size} bytes: this offset and length lie outside`, remedy: 'Fetch the file again: it is incomplete.' });
  }
}

/** Refuses fewer or more bytes than asked for. */
export function checkLength(name: string, bytes: Uint8Array, offset: number, length: number): Uint8Array {
  if (bytes.byteLength !== length) {
    throw new ModelError('io', { argument: name, value: bytes.byteLength, message: `gave another number of bytes than the ${length} asked for at ${offset}`, remedy: 'Fetch the file again: it changed or was cut short.' });
  }
  return bytes;
}

/** Reads a whole source as UTF-8 text. `maxBytes` guards against files that are not what their name says. */
export async function readText(source: ByteSource, maxBytes = 64 * 2 ** 20): Promise<string> {
  const size = await source.size();
  if (size > maxBytes) {
    throw new ModelError('io', { argument: source.name, value: size, message: `is larger than the ${maxBytes} bytes allowed for a text file`, remedy: 'Check that this is the right file.' });
  }
  return new TextDecoder().decode(await source.read(0, size));
}
