/** @file Pixels of images of one size, straight into what the vision tower takes: every byte's place is found once. */
import { defaultPreprocessorConfig, type ModelConfig, packVisionInputs, patchify } from '@trimpi/model';

/** Where each value of the tower's input comes from (the bytes of a pixel, in the order of windows), and what each byte becomes; both are read off the model's own code. */
export class PixelPlacer {
  readonly gridThw: readonly [number, number, number];
  /** Values that an image takes: patches times patch length. */
  readonly length: number;
  readonly #from: Int32Array;
  /** The same for an image that is flipped left and right. */
  readonly #flipped: Int32Array;
  readonly #value: Float32Array;
  /** Pixels of a patch, and frames that a still is repeated for. */
  readonly #area: number;
  readonly #frames: number;

  constructor(config: ModelConfig, width: number, height: number) {
    const preprocessor = defaultPreprocessorConfig(config);
    const plain = { ...preprocessor, rescaleFactor: 1, imageMean: [0, 0, 0] as const, imageStd: [1, 1, 1] as const };
    const place = (byte: (i: number) => number) => {
      const image = patchify(Uint8Array.from({ length: width * height * 3 }, (_, i) => byte(i)), width, height, plain);
      const grid = image.gridThw as [number, number, number];
      return { values: packVisionInputs(config, [{ pixelValues: image.pixelValues, gridThw: grid }]).inputs['pixelValues'] as Float32Array, grid };
    };
    const parts = [0, 8, 16].map((shift) => place((i) => (i >> shift) & 255));
    this.gridThw = parts[0]!.grid;
    this.length = parts[0]!.values.length;
    this.#from = Int32Array.from({ length: this.length }, (_, i) => parts.reduce((n, { values }, k) => n + values[i]! * 256 ** k, 0));
    this.#area = preprocessor.patchSize ** 2;
    this.#frames = preprocessor.temporalPatchSize;
    this.#flipped = this.#from.map((i) => {
      const pixel = Math.floor(i / 3);
      const column = pixel % width;
      return i + 3 * (width - 1 - 2 * column);
    });
    // A patch of one byte in all its pixels says what the byte becomes in each channel.
    const side = preprocessor.patchSize * preprocessor.mergeSize;
    this.#value = new Float32Array(3 * 256);
    for (let byte = 0; byte < 256; byte++) {
      const { pixelValues } = patchify(new Uint8Array(side * side * 3).fill(byte), side, side, preprocessor);
      for (let channel = 0; channel < 3; channel++) this.#value[channel * 256 + byte] = pixelValues[channel * preprocessor.temporalPatchSize * preprocessor.patchSize ** 2]!;
    }
  }

  /** Puts an image [height, width, 3] where its patches begin in `out`. */
  write(rgb: Uint8Array, out: Float32Array, at: number, mirrored = false): void {
    const from = mirrored ? this.#flipped : this.#from;
    const value = this.#value;
    const area = this.#area;
    // A patch has its channels one behind the other, and in each the same pixels for every frame.
    for (let i = 0; i < from.length; i += this.#frames * area) {
      const channel = (from[i]! % 3) * 256;
      const begin = at + i;
      for (let k = 0; k < area; k++) out[begin + k] = value[channel + rgb[from[i + k]!]!]!;
      for (let frame = 1; frame < this.#frames; frame++) out.copyWithin(begin + frame * area, begin, begin + area);
    }
  }
}
