/** @file The pictures that a policy and its rows name: whether they are there, are pictures, and can be decoded. */
import { sha256Hex } from '../files/hash.ts';
import { imageFormat, type ImageFormat } from '../files/imageformat.ts';
import { decodePng } from '../files/png.ts';
import { differenceHash } from './differencehash.ts';
import { markdownImages } from './markdown.ts';
import type { Finding, OwnPolicy, PolicyFolder } from './types.ts';

/** What is wrong with a file that is named as a picture. */
export interface PictureFault {
  readonly severity: Finding['severity'];
  readonly message: string;
}

function safeName(name: string): boolean {
  return name !== '' && !name.startsWith('/') && !/^[a-zA-Z]:|\\|\0/.test(name) && !name.split('/').includes('..');
}

const ENDINGS: Readonly<Record<ImageFormat, RegExp>> = { png: /\.png$/i, jpeg: /\.(?:jpe?g|jfif)$/i, webp: /\.webp$/i };

/** Looks at the first bytes of each file, once. */
export function pictureFaults(folder: PolicyFolder): (name: string) => PictureFault | undefined {
  return remembered((name) => {
    const error = (what: string): PictureFault => ({ severity: 'error', message: `image ${JSON.stringify(name)} ${what}` });
    if (!safeName(name)) return error('leaves the folder; name a file inside it.');
    const bytes = folder.readBytes(name);
    if (bytes === undefined) return error('does not exist; add it or correct the name.');
    const format = imageFormat(bytes);
    if (format === undefined) return error('is neither PNG, JPEG nor WebP; save it as one of them.');
    if (ENDINGS[format].test(name)) return undefined;
    return { severity: 'warning', message: `image ${JSON.stringify(name)} is a ${format.toUpperCase()} by its content; let its name end with .${format}, for programs that go by the name.` };
  });
}

/** The file that a Markdown image names: as it is written, or with `%20` and the like decoded where only that exists. */
export function linkedFile(folder: PolicyFolder, written: string): string {
  if (!written.includes('%') || (safeName(written) && folder.readBytes(written) !== undefined)) return written;
  try {
    const name = decodeURIComponent(written);
    return safeName(name) && folder.readBytes(name) !== undefined ? name : written;
  } catch {
    return written;
  }
}

/** A picture that was decoded once. */
export interface Print {
  readonly hash: string;
  /** Of a PNG. */
  readonly bits: Uint8Array | undefined;
  /** Why it cannot be decoded. */
  readonly fault: string | undefined;
}

/** Decodes each PNG once; of other formats, which need a library, only the bytes are known. */
export function picturePrints(folder: PolicyFolder): (name: string) => Print {
  return remembered((name) => {
    const bytes = folder.readBytes(name) ?? new Uint8Array();
    const hash = sha256Hex(bytes);
    if (imageFormat(bytes) !== 'png') return { hash, bits: undefined, fault: undefined };
    try {
      return { hash, bits: differenceHash(decodePng(bytes)), fault: undefined };
    } catch (cause) {
      return { hash, bits: undefined, fault: cause instanceof Error ? cause.message.replace(/[:\s]+$/, '') : String(cause) };
    }
  });
}

/** Errors for pictures that `faultOf` says cannot be decoded, wherever the policy and its rows name them. */
export function findBrokenPictures(policy: Pick<OwnPolicy, 'markdown' | 'policyImages' | 'rows'>, faultOf: (name: string) => string | undefined): Finding[] {
  const finding = (file: string, line: number, name: string): Finding[] => {
    const fault = faultOf(name);
    return fault === undefined ? [] : [{ file, line, severity: 'error', message: `image ${JSON.stringify(name)} cannot be decoded (${fault}); save it again.` }];
  };
  return [
    ...markdownImages(policy.markdown).links.flatMap(({ line }, i) => finding('policy.md', line, policy.policyImages[i]!)),
    ...policy.rows.flatMap((row) => row.images.flatMap((name) => finding('examples.jsonl', row.line, name))),
  ];
}

function remembered<T>(make: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>();
  return (name) => {
    if (!known.has(name)) known.set(name, make(name));
    return known.get(name) as T;
  };
}
