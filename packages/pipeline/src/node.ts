/** @file What a run needs in Node: a folder to write to, and the base that comes with this package. */
import { fileURLToPath } from 'node:url';
import type { ModelFiles } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';

export { folderStorage } from './node/folder-storage.ts';

/** The files of the tiny base that is shipped with this package (found from `src` and from `dist` alike). */
export function tinyBase(): ModelFiles {
  return folderFiles(fileURLToPath(new URL('../assets/tiny-base', import.meta.url)));
}
