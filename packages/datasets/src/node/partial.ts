/** @file A folder under construction, and its way into its place. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { DatasetError } from '../core/error.ts';

/** Why there can be no folder of this name, in words that follow the name; undefined when there can. */
export function folderObstacle(dir: string): string | undefined {
  const target = resolve(dir);
  let found = target;
  while (!existsSync(found) && dirname(found) !== found) found = dirname(found);
  if (!existsSync(found) || statSync(found).isDirectory()) return undefined;
  return found === target ? 'is a file' : `lies in ${found}, which is a file`;
}

/**
 * Files are written into `path`, and `finish` puts them in place. A folder that is there stays the same folder, since a shell
 * may stand in it or a file system be mounted on it: `path` lies inside it and its entries are exchanged. Else `path` lies
 * beside the place and is renamed.
 */
export class PartialFolder {
  readonly path: string;
  readonly #dir: string;
  readonly #target: string;
  #finished = false;

  /** @throws DatasetError `invalidArgument` where nothing can be written. */
  constructor(dir: string) {
    this.#dir = dir;
    this.#target = resolve(dir);
    const obstacle = folderObstacle(dir);
    if (obstacle !== undefined) throw new DatasetError('invalidArgument', `dir ${dir} ${obstacle}; choose another folder.`);
    this.path = unused(existsSync(this.#target) ? join(this.#target, '.partial') : join(dirname(this.#target), `.${basename(this.#target)}.partial`));
    try {
      mkdirSync(this.path, { recursive: true });
    } catch (cause) {
      throw new DatasetError('invalidArgument', `dir ${dir} cannot be written (${reason(cause)}); choose another folder.`);
    }
  }

  /**
   * Puts the files in place; what the folder held before is removed.
   * @throws DatasetError `unwritable`: the folder is as it was, and the files are kept in `path`, which the message names.
   */
  finish(): void {
    this.#finished = true;
    if (!existsSync(this.#target)) {
      try {
        renameSync(this.path, this.#target);
      } catch (cause) {
        throw this.#kept(reason(cause));
      }
      return;
    }
    const old = unused(join(this.#target, '.old'));
    this.#exchange(old);
    rmSync(this.path, { recursive: true, force: true });
    try {
      rmSync(old, { recursive: true, force: true });
    } catch (cause) {
      throw new DatasetError('unwritable', `dir ${this.#dir} is complete, but what it held before cannot be removed (${reason(cause)}); delete ${old}.`);
    }
  }

  /** Removes what was written; after `finish` there is nothing to remove. */
  abandon(): void {
    if (!this.#finished) rmSync(this.path, { recursive: true, force: true });
  }

  #exchange(old: string): void {
    const moved: (readonly [from: string, to: string])[] = [];
    const move = (from: string, to: string): void => {
      renameSync(from, to);
      moved.push([from, to]);
    };
    try {
      mkdirSync(old);
      const work = resolve(this.path);
      for (const name of readdirSync(this.#target)) {
        const from = join(this.#target, name);
        if (from !== work && from !== old) move(from, join(old, name));
      }
      for (const name of readdirSync(this.path)) move(join(this.path, name), join(this.#target, name));
    } catch (cause) {
      throw this.#kept(`${reason(cause)}${putBack(moved, old)}`);
    }
  }

  #kept(why: string): DatasetError {
    return new DatasetError('unwritable', `dir ${this.#dir} cannot be filled (${why}); what was made is complete in ${this.path}: move it from there.`);
  }
}

/** Takes moves back; says what of it failed. */
function putBack(moved: readonly (readonly [from: string, to: string])[], old: string): string {
  let failed = '';
  for (const [from, to] of moved.toReversed()) {
    try {
      renameSync(to, from);
    } catch (cause) {
      failed += `; ${to} cannot be put back: ${reason(cause)}`;
    }
  }
  try {
    // Only when it is empty.
    if (existsSync(old)) rmdirSync(old);
  } catch (cause) {
    failed += `; ${old} cannot be removed: ${reason(cause)}`;
  }
  return failed;
}

/** A name with the number of this process that nothing has: an earlier one may hold finished work. */
function unused(prefix: string): string {
  let path = `${prefix}-${process.pid}`;
  for (let n = 2; existsSync(path); n++) path = `${prefix}-${process.pid}-${n}`;
  return path;
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
