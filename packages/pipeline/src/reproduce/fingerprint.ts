import { type ModelFiles, requireText, WEIGHTS_FILE, WEIGHTS_INDEX_FILE } from '@trimpi/model';

/** Enough to tell checkpoints of billions of parameters apart, and all of a small one. */
const READ = 2 ** 26;

/** The first twelve digits of the SHA-256 of a base's weights (of their first 64 MiB, in the first of several files); empty when there are none. */
export async function baseFingerprint(base: ModelFiles): Promise<string> {
  let source = await base.open(WEIGHTS_FILE);
  if (source === null && (await base.open(WEIGHTS_INDEX_FILE)) !== null) {
    const { weight_map: files } = JSON.parse(await requireText(base, WEIGHTS_INDEX_FILE)) as { readonly weight_map: Readonly<Record<string, string>> };
    const first = Object.values(files).toSorted()[0];
    source = first === undefined ? null : await base.open(first);
  }
  if (source === null) return '';
  const bytes = await source.read(0, Math.min(READ, await source.size()));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return Array.from(hash.subarray(0, 6), (b) => b.toString(16).padStart(2, '0')).join('');
}
