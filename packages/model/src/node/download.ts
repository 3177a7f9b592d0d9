/** @file Downloads that resume: to a file beside, with a note of what it is a part of, checked and renamed at the end. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ModelError } from '../errors.ts';
import { probe, streamFile, type HttpOptions } from '../files/http-source.ts';
import { isObject } from '../json-fields.ts';
import { ioError } from './atomic-write.ts';

export interface DownloadOptions extends HttpOptions {
  /** Expected SHA-256 of the file, hexadecimal. */
  readonly sha256?: string;
  /** Called as bytes come in. */
  readonly onProgress?: (progress: { readonly received: number; readonly size: number }) => void;
}

/**
 * Downloads a file. When it was begun before and is still the same on the server, only what is missing is fetched.
 * @throws ModelError `io`, `not-found`, `aborted`; what was received is kept for the next time.
 */
export async function downloadFile(url: string | URL, path: string, options: DownloadOptions = {}): Promise<void> {
  const part = `${path}.part`;
  const note = `${path}.part.json`;
  const { size, version } = await probe(String(url), options);
  try {
    await mkdir(dirname(path), { recursive: true });
    let received = await partialSize(part, note, size, version);
    if (received === 0) await writeFile(note, JSON.stringify({ size, version }));
    const file: FileHandle = await open(part, received === 0 ? 'w' : 'r+');
    try {
      await streamFile(url, received, options, async (chunk, total, seen) => {
        if (seen !== version) throw changed(url, seen);
        let at = 0;
        while (at < chunk.byteLength) at += (await file.write(chunk, at, chunk.byteLength - at, received + at)).bytesWritten;
        received += chunk.byteLength;
        options.onProgress?.({ received, size: total });
      });
      await file.sync();
    } finally {
      await file.close();
    }
    if (options.sha256 !== undefined) await checkHash(part, options.sha256, note);
    await rename(part, path);
    await rm(note, { force: true });
  } catch (cause) {
    throw cause instanceof ModelError ? cause : ioError(path, cause);
  }
}

/** How much of the file is there already; 0 when it is a part of something else, or of nobody knows what. */
async function partialSize(part: string, note: string, size: number, version: string): Promise<number> {
  try {
    const known: unknown = JSON.parse(await readFile(note, 'utf8'));
    if (!isObject(known) || known['size'] !== size || known['version'] !== version || version === '') return 0;
    const { size: there } = await stat(part);
    return there <= size ? there : 0;
  } catch {
    return 0;
  }
}

async function checkHash(part: string, expected: string, note: string): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(part)) hash.update(chunk as Uint8Array);
  const actual = hash.digest('hex');
  if (actual === expected.toLowerCase()) return;
  await rm(part, { force: true });
  await rm(note, { force: true });
  throw new ModelError('io', { argument: part, value: actual, message: `does not have the SHA-256 ${expected}`, remedy: 'Download it again.' });
}

function changed(url: string | URL, version: string): ModelError {
  return new ModelError('io', { argument: String(url), value: version, message: 'changed on the server while it was read', remedy: 'Download it again.' });
}
