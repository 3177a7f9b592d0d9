/** @file An output folder that is there whole or not at all. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { UsageError } from './errors.ts';

/** Refuses a folder that is not empty, before any work is done. */
export function checkFree(out: string, overwrite: boolean): void {
  if (!overwrite && existsSync(out) && readdirSync(out).length > 0) throw new UsageError(`--out ${out} is not empty. Choose another folder, or add --overwrite.`);
}

/** `fill` writes into a folder beside `out`, which takes its place when all went well, and is removed otherwise. */
export async function wholeFolder<T>(out: string, overwrite: boolean, fill: (work: string) => Promise<T>): Promise<T> {
  checkFree(out, overwrite);
  const target = resolve(out);
  const work = join(dirname(target), `.${basename(target)}.partial-${process.pid}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    const result = await fill(work);
    const old = `${work}-old`;
    if (existsSync(target)) renameSync(target, old);
    renameSync(work, target);
    rmSync(old, { recursive: true, force: true });
    return result;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
