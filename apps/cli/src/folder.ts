/** @file An output folder that is there whole or not at all. */
import { existsSync, readdirSync } from 'node:fs';
import { folderObstacle, PartialFolder } from '@trimpi/datasets/node';
import { UsageError } from './errors.ts';

/** Refuses a name that can be no folder, before any work is done. */
export function checkPlace(out: string): void {
  const obstacle = folderObstacle(out);
  if (obstacle !== undefined) throw new UsageError(`--out ${out} ${obstacle}. Choose another folder.`);
}

/** Refuses a folder that is not empty as well. */
export function checkFree(out: string, overwrite: boolean): void {
  checkPlace(out);
  const [first] = !overwrite && existsSync(out) ? readdirSync(out) : [];
  if (first !== undefined) throw new UsageError(`--out ${out} is not empty: it holds ${first}. Choose another folder, or add --overwrite.`);
}

/** `fill` writes into a folder that comes to stand at `out` when all went well, and is removed when `fill` fails. */
export async function wholeFolder<T>(out: string, overwrite: boolean, fill: (work: string) => Promise<T>): Promise<T> {
  checkFree(out, overwrite);
  const partial = new PartialFolder(out);
  try {
    const result = await fill(partial.path);
    partial.finish();
    return result;
  } finally {
    partial.abandon();
  }
}
