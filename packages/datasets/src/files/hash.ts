import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { Example, Split } from '../core/example.ts';

/** SHA-256 in hexadecimal of bytes or of a text in UTF-8. */
export function sha256Hex(data: Uint8Array | string): string {
  return bytesToHex(sha256(typeof data === 'string' ? utf8ToBytes(data) : data));
}

/** A hash of everything that an example holds: texts, and image pixels unless `images` is false. */
export function hashExample(example: Example, options: { readonly images?: boolean } = {}): string {
  const texts = [example.id, example.split, example.policyId, example.policyName, example.query, example.answer, example.reasoning, example.policyText];
  const images = options.images === false ? [] : example.images.map((image) => `${image.width}x${image.height}:${sha256Hex(image.rgb)}`);
  return sha256Hex(JSON.stringify([...texts, ...images]));
}

/** JSON with the keys of all objects sorted, so that equal configs have equal texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

/** What identifies a dataset: its config, its sizes, and hashes of the first and last item of each split. */
export interface DatasetManifest {
  readonly format: 'trimpi-dataset';
  readonly version: 1;
  readonly kind: string;
  readonly config: unknown;
  readonly configHash: string;
  readonly sizes: Readonly<Record<Split, number>>;
  readonly items: Readonly<Record<string, string>>;
}

/** The manifest of a dataset. Two engines that write the same manifest write the same dataset. */
export function datasetManifest(
  kind: string, config: unknown, dataset: { size(split: Split): number; example(split: Split, index: number): Example },
): DatasetManifest {
  const items: Record<string, string> = {};
  for (const split of ['train', 'test'] as const) {
    const size = dataset.size(split);
    for (const index of new Set([0, size - 1])) if (index >= 0 && size > 0) items[`${split}/${index}`] = hashExample(dataset.example(split, index));
  }
  const text = canonicalJson(config);
  return {
    format: 'trimpi-dataset', version: 1, kind, config: JSON.parse(text) as unknown, configHash: sha256Hex(text),
    sizes: { train: dataset.size('train'), test: dataset.size('test') }, items,
  };
}
