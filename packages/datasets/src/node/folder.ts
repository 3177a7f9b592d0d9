/** @file Writing a dataset folder, which is there whole or not at all. */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { DatasetError } from '../core/error.ts';
import type { DatasetManifest } from '../files/hash.ts';
import { folderObstacle, PartialFolder } from './partial.ts';

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

/** Writes the files of a folder under construction, and their hashes. */
export class FolderWriter {
  readonly #partial: PartialFolder;
  readonly hashes: Record<string, string> = {};

  constructor(dir: string, overwrite: boolean) {
    const obstacle = folderObstacle(dir);
    if (obstacle === undefined && !overwrite && existsSync(dir) && readdirSync(dir).length > 0) {
      throw new DatasetError('invalidArgument', `dir ${dir} is not empty; choose another folder or pass overwrite.`);
    }
    this.#partial = new PartialFolder(dir);
  }

  write(name: string, data: string | Uint8Array): void {
    const path = join(this.#partial.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, data);
    this.hashes[name] = createHash('sha256').update(data).digest('hex');
  }

  /** Writes a file piece by piece; memory does not grow with it. */
  async writePieces(name: string, pieces: Iterable<string>): Promise<void> {
    const path = join(this.#partial.path, name);
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
    this.#partial.finish();
  }

  abandon(): void {
    this.#partial.abandon();
  }
}

/** Runs `fill` on a folder under construction; when it fails nothing is left behind. */
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
