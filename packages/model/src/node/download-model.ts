/** @file A model of the hub into a folder. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelError } from '../errors.ts';
import { hubUrlOf, listHubFiles, withToken, type HubOptions } from '../files/hub-files.ts';
import { downloadFile } from './download.ts';

export interface DownloadModelOptions extends HubOptions {
  /** Called as bytes come in. */
  readonly onProgress?: (progress: { readonly file: string; readonly received: number; readonly size: number }) => void;
}

/** What a model needs: configurations, tokenizer, templates, weights. */
const WANTED = /(\.json|\.jinja|\.safetensors|^merges\.txt)$/;

/**
 * Downloads the files of a model that are not in the folder yet; begun ones are taken up again, large ones checked
 * against their SHA-256.
 * @returns the names of the files.
 * @throws ModelError `not-found`, `io`, `aborted`.
 */
export async function downloadModel(folder: string, options: DownloadModelOptions): Promise<string[]> {
  const files = (await listHubFiles(options)).filter(({ path }) => WANTED.test(path));
  if (files.length === 0) {
    throw new ModelError('not-found', { argument: 'repo', value: options.repo, message: 'holds no files of a model', remedy: 'Check the repository: weights have to be safetensors.' });
  }
  for (const { path, size, sha256 } of files) {
    const target = join(folder, path);
    if ((await sizeOf(target)) === size) continue;
    await downloadFile(await hubUrlOf(path, options), target, {
      ...withToken(options),
      ...(sha256 === null ? {} : { sha256 }),
      onProgress: (progress) => options.onProgress?.({ file: path, ...progress }),
    });
  }
  return files.map(({ path }) => path);
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return -1;
  }
}
