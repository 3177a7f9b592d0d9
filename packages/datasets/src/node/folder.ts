/** @file Writing a dataset folder: built beside its place and renamed, so that there is never a half-written one. */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { DatasetError } from '../core/error.ts';
import type { DatasetManifest } from '../files/hash.ts';

export interface WriteProgress {
  readonly done: number;
  readonly total: number;
  readonly file: string;
}

export interface WriteReport {
  readonly dir: string;
  readonly examples: number;
  readonly files: number;
  readonly manifest: DatasetManifest & { readonly files: Readonly<Record<string, string>> };
}

/** A folder under construction; `finish` puts it in place. */
export class FolderWriter {
  readonly #target: string;
  readonly #work: string;
  readonly #overwrite: boolean;
  readonly hashes: Record<string, string> = {};

  constructor(dir: string, overwrite: boolean) {
    this.#target = resolve(dir);
    this.#overwrite = overwrite;
    if (existsSync(this.#target) && readdirSync(this.#target).length > 0 && !overwrite) {
      throw new DatasetError('invalidArgument', `dir ${dir} is not empty; choose another folder or pass overwrite.`);
    }
    this.#work = join(dirname(this.#target), `.${basename(this.#target)}.partial-${process.pid}`);
    rmSync(this.#work, { recursive: true, force: true });
    mkdirSync(this.#work, { recursive: true });
  }

  write(name: string, data: string | Uint8Array): void {
    const path = join(this.#work, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, data);
    this.hashes[name] = createHash('sha256').update(data).digest('hex');
  }

  /** Writes a file piece by piece; memory does not grow with it. */
  async writePieces(name: string, pieces: Iterable<string>): Promise<void> {
    const path = join(this.#work, name);
    mkdirSync(dirname(path), { recursive: true });
    const hash = createHash('sha256');
    const file = openSync(path, 'w');
    try {
      let count = 0;
      for (const piece of pieces) {
        hash.update(piece);
        writeSync(file, piece);
        // Timers, signals and progress bars get their turn.
        if (++count % 16 === 0) await setImmediate();
      }
    } finally {
      closeSync(file);
    }
    this.hashes[name] = hash.digest('hex');
  }

  finish(): void {
    const old = `${this.#work}-old`;
    if (existsSync(this.#target)) {
      if (this.#overwrite) renameSync(this.#target, old);
      else rmSync(this.#target, { recursive: true, force: true });
    }
    renameSync(this.#work, this.#target);
    rmSync(old, { recursive: true, force: true });
  }

  abandon(): void {
    rmSync(this.#work, { recursive: true, force: true });
  }
}

/** Runs `fill` on a folder under construction; on any error nothing is left behind. */
export async function writeFolder<T>(dir: string, overwrite: boolean, fill: (writer: FolderWriter) => Promise<T>): Promise<T> {
  const writer = new FolderWriter(dir, overwrite);
  try {
    const result = await fill(writer);
    writer.finish();
    return result;
  } catch (error) {
    writer.abandon();
    throw error;
  }
}
