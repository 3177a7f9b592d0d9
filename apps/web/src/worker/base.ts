import { httpFiles, memoryFiles, type ModelFiles, ModelError } from '@trimpi/model';
import { BASE_FILES } from '../base-files.ts';

/** The base beside the page, each file in one request (reading tensor by tensor would take a hundred). */
export async function loadBase(root: string, onProgress: (done: number, of: number) => void): Promise<ModelFiles> {
  const server = httpFiles(root);
  const files: Record<string, Uint8Array> = {};
  for (const [i, file] of BASE_FILES.entries()) {
    const source = await server.open(file);
    if (source === null) throw new ModelError('not-found', { argument: root, value: file, message: 'is not on the server', remedy: 'Build the page again with the base (packages/pipeline/assets/tiny-base).' });
    files[file] = await source.read(0, await source.size());
    onProgress(i + 1, BASE_FILES.length);
  }
  return memoryFiles(files, root);
}
