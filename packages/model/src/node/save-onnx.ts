/** @file Writes the files of an ONNX export into a folder. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { OnnxFile } from '../onnx/export.ts';
import { ioError, type PendingFile, writeBeside } from './atomic-write.ts';

/**
 * Writes `exportOnnx`'s files, one tensor in memory at a time. All are complete on the disk before the first takes its
 * place.
 * @throws ModelError `io` (what was there is untouched), `tensor-mismatch`.
 */
export async function saveOnnx(folder: string, files: readonly OnnxFile[]): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw ioError(folder, cause);
  }
  const pending: PendingFile[] = [];
  try {
    for (const file of files) pending.push(await writeBeside(join(folder, file.name), file.parts()));
  } catch (error) {
    await Promise.all(pending.map((file) => file.discard()));
    throw error;
  }
  for (const file of pending) await file.commit();
}
