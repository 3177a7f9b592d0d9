/** @file The pictures of a request: all are counted by their headers before the first is decoded, and one is decoded at a time. */
import { type GridThw, preprocessImage, type PreprocessedImage, type Processor } from '@trimpi/model';
import { decodeImage } from '@trimpi/model/node';
import { ApiError } from './api-error.ts';
import { type ImageRules, MAX_REQUEST_PIXELS, requestPicture } from './image-source.ts';

/** An `image_url` part. */
export interface PicturePart {
  readonly url: string;
  /** Its place in the request. */
  readonly param: string;
}

/** A picture that fits into its request, not decoded. */
export interface CountedPicture {
  readonly bytes: Uint8Array;
  readonly param: string;
  readonly gridThw: GridThw;
  /** That it takes in a prompt. */
  readonly tokens: number;
}

export interface PictureOptions {
  readonly processor: Pick<Processor, 'gridOf' | 'preprocessor'>;
  readonly rules: ImageRules;
  /** Most tokens of a request, and the option that says so. */
  readonly limit: { readonly tokens: number; readonly option: string };
}

export class Pictures {
  readonly #o: PictureOptions;
  /** Settles when the picture before has been decoded: of all requests together one is in memory whole. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: PictureOptions) {
    this.#o = options;
  }

  /**
   * Reads bytes and headers, in order, as long as bytes, pixels and tokens of the request allow.
   * @throws ApiError 400 naming the part and the limit; ModelError `invalid-image`.
   */
  async count(parts: readonly PicturePart[], signal: AbortSignal): Promise<CountedPicture[]> {
    const { processor, rules, limit } = this.#o;
    const counted: CountedPicture[] = [];
    let [pixels, tokens, fetched] = [0, 0, 0];
    for (const { url, param } of parts) {
      stopIfGone(signal);
      const picture = await requestPicture(url, param, rules, signal, fetched);
      const gridThw = processor.gridOf(picture);
      pixels += picture.width * picture.height;
      const own = gridThw.reduce((a, b) => a * b) / processor.preprocessor.mergeSize ** 2;
      tokens += own;
      if (picture.fetched) fetched += picture.bytes.byteLength;
      if (pixels > MAX_REQUEST_PIXELS) throw new ApiError(400, `${param}: with this picture those of the request have ${pixels} pixels, more than the ${MAX_REQUEST_PIXELS} that all together may have. Shrink them, or send fewer.`, { param, code: 'image_too_large' });
      if (tokens > limit.tokens) throw new ApiError(400, `${param}: with this picture those of the request take ${tokens} tokens, more than the ${limit.tokens} that a prompt and its answer may have (${limit.option}). Shrink the pictures, or send fewer.`, { param, code: 'context_length_exceeded' });
      counted.push({ bytes: picture.bytes, param, gridThw, tokens: own });
    }
    return counted;
  }

  /** Decodes and cuts into patches. @throws ApiError 400 where a header said something else; ModelError `invalid-image`. */
  async decode(counted: readonly CountedPicture[], signal: AbortSignal): Promise<PreprocessedImage[]> {
    const images: PreprocessedImage[] = [];
    for (const picture of counted) images.push(await this.#inTurn(() => this.#decodeOne(picture, signal)));
    return images;
  }

  async #decodeOne({ bytes, param, gridThw }: CountedPicture, signal: AbortSignal): Promise<PreprocessedImage> {
    stopIfGone(signal);
    const image = preprocessImage(await decodeImage(bytes), this.#o.processor.preprocessor);
    if (image.gridThw.join() !== gridThw.join()) throw new ApiError(400, `${param}: the picture is not of the size that its header says. Save it again.`, { param, code: 'invalid_image' });
    return image;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

/** Nothing is done for a client that has hung up; this answer reaches nobody. */
function stopIfGone(signal: AbortSignal): void {
  if (signal.aborted) throw new ApiError(400, 'The client went away.', { code: 'client_gone' });
}
