/** @file Picture files as images: one object for each file, its size from the header, its pixels when they are looked at. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { decodePng, PNG_HEADER_BYTES, pngSize, type RgbImage } from '@trimpi/datasets';
import { UsageError } from '../errors.ts';

/** Most bytes of pixels that are kept, of the pictures looked at last: tens of thousands do not fit. */
const KEPT_BYTES = 64 * 2 ** 20;

export class PictureFiles {
  readonly #dir: string;
  readonly #images = new Map<string, RgbImage>();
  readonly #recent = new Map<string, Uint8Array>();
  #bytes = 0;
  readonly #maxAdded: number;
  #added = 0;

  /** @param maxAdded bytes of pixels that `add` takes; by default half of the machine's memory. */
  constructor(dir: string, maxAdded = totalmem() / 2) {
    this.#dir = dir;
    this.#maxAdded = maxAdded;
  }

  /** The same object whenever a file is asked for. @throws UsageError naming a file that is missing or no PNG; reading `rgb` does for one that is damaged. */
  get(name: string): RgbImage {
    const known = this.#images.get(name);
    if (known !== undefined) return known;
    const path = join(this.#dir, name);
    const pixels = () => this.#pixels(path);
    const image: RgbImage = {
      ...sizeOf(path),
      get rgb() {
        return pixels();
      },
    };
    this.#images.set(name, image);
    return image;
  }

  /** A picture that was decoded elsewhere, such as a JPEG; it is kept. @throws UsageError when all of them are more than there is room for. */
  add(name: string, image: RgbImage): void {
    this.#added += image.rgb.byteLength;
    if (this.#added > this.#maxAdded) {
      throw new UsageError(`${this.#dir}: its JPEG and WebP pictures up to ${name} are ${mib(this.#added)} MiB of pixels, more than the ${mib(this.#maxAdded)} that are kept here. Save them as PNG, which is decoded when it is looked at, or make them smaller.`);
    }
    this.#images.set(name, image);
  }

  #pixels(path: string): Uint8Array {
    const known = this.#recent.get(path);
    const rgb = known ?? decode(path);
    // Last in the order of the map: the oldest go first.
    this.#recent.delete(path);
    this.#recent.set(path, rgb);
    if (known === undefined) this.#bytes += rgb.byteLength;
    for (const [oldest, { byteLength }] of this.#recent) {
      if (this.#bytes <= KEPT_BYTES || oldest === path) break;
      this.#recent.delete(oldest);
      this.#bytes -= byteLength;
    }
    return rgb;
  }
}

function sizeOf(path: string): { readonly width: number; readonly height: number } {
  const header = new Uint8Array(PNG_HEADER_BYTES);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    throw new UsageError(`${path} is missing. Write the dataset with images (without --no-images).`);
  }
  try {
    readSync(file, header);
  } finally {
    closeSync(file);
  }
  const size = pngSize(header);
  if (size === undefined) throw new UsageError(`${path} is no PNG. Write the dataset again.`);
  return size;
}

function mib(bytes: number): string {
  return Math.round(bytes / 2 ** 20).toLocaleString('en');
}

function decode(path: string): Uint8Array {
  try {
    return decodePng(readFileSync(path)).rgb;
  } catch (cause) {
    throw new UsageError(`${path} cannot be decoded (${cause instanceof Error ? cause.message : String(cause)}). Write it again.`);
  }
}
