import { type ModelFiles, openCheckpoint, WEIGHTS_FILE } from '@trimpi/model';

/** Enough to tell checkpoints of billions of parameters apart, and all of a small one. */
const MOST = 2 ** 26;
/** Of each tensor, where there are several files. */
const OF_EACH = 4096;

/**
 * The first twelve digits of the SHA-256 of a base's weights: of the first 64 MiB of their file; of several files, of the names and shapes of
 * all tensors in their order by name, each with its first 4 KiB.
 * @throws ModelError for files that are not a checkpoint.
 */
export async function baseFingerprint(base: ModelFiles): Promise<string> {
  const file = await base.open(WEIGHTS_FILE);
  const bytes = file === null ? await beginnings(base) : await file.read(0, Math.min(MOST, await file.size()));
  return sha256(bytes);
}

/** The first twelve digits of a SHA-256. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return Array.from(hash.subarray(0, 6), (b) => b.toString(16).padStart(2, '0')).join('');
}

async function beginnings(base: ModelFiles): Promise<Uint8Array> {
  const checkpoint = await openCheckpoint(base);
  const parts: Uint8Array[] = [];
  for (const name of checkpoint.names.toSorted()) {
    const { dtype, shape, begin, end } = checkpoint.info(name);
    parts.push(new TextEncoder().encode(`${name} ${dtype} ${shape.join(' ')}\n`), await checkpoint.readBytes(name, 0, Math.min(OF_EACH, end - begin)));
  }
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}
