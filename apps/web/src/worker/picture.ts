/** @file A picture of the visitor's, as pixels. */
import { decodeImageInBrowser, type RawImage } from '@trimpi/model';

/** Pixels of a picture as the fits are planned (448 x 448); a model's processor makes larger ones smaller. */
export const MOST_PIXELS = 448 * 448;
/** Files beyond this are no picture to ask about. */
const MOST_BYTES = 64 * 2 ** 20;

/** @throws Error `bad-image` naming the file. */
export async function pictureOf(file: File): Promise<RawImage> {
  const refuse = (why: string, cause?: unknown) => Object.assign(new Error(`${file.name} ${why} Use a PNG, JPEG or WebP.`, { cause }), { code: 'bad-image' });
  if (file.size > MOST_BYTES) throw refuse(`has more than ${MOST_BYTES / 2 ** 20} MiB.`);
  return decodeImageInBrowser(new Uint8Array(await file.arrayBuffer())).catch((cause: unknown) => {
    throw refuse('is no picture that this browser can read.', cause);
  });
}
