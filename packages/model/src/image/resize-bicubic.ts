/**
 * @file Bicubic resampling with antialiasing, bit for bit as Pillow does it for 8-bit images (`Resample.c`):
 * a = -0.5, support stretched by the scale when shrinking, weights in fixed point, horizontally first, and the result
 * of the first pass rounded to 8 bits.
 */

/** Bits behind the point of a weight: 32 less 8 for the pixel and 2 for the overshoot of the kernel. */
const PRECISION_BITS = 22;
const KERNEL_SUPPORT = 2;
const A = -0.5;

function bicubic(x: number): number {
  const d = Math.abs(x);
  if (d < 1) return ((A + 2) * d - (A + 3)) * d * d + 1;
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * A;
  return 0;
}

interface Weights {
  /** Most input pixels that go into an output pixel. */
  readonly taps: number;
  /** [output] first input pixel. */
  readonly first: Int32Array;
  /** [output] number of input pixels. */
  readonly count: Int32Array;
  /** [output, taps] fixed point. */
  readonly weight: Int32Array;
}

function weightsOf(inputSize: number, outputSize: number): Weights {
  const scale = inputSize / outputSize;
  const filterScale = Math.max(scale, 1);
  const support = KERNEL_SUPPORT * filterScale;
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(outputSize);
  const count = new Int32Array(outputSize);
  const weight = new Int32Array(outputSize * taps);
  const inverse = 1 / filterScale;
  for (let i = 0; i < outputSize; i++) {
    const center = (i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(center - support + 0.5));
    const to = Math.min(inputSize, Math.trunc(center + support + 0.5));
    const row: number[] = [];
    let sum = 0;
    for (let x = from; x < to; x++) {
      const w = bicubic((x - center + 0.5) * inverse);
      row.push(w);
      sum += w;
    }
    first[i] = from;
    count[i] = to - from;
    row.forEach((w, k) => {
      const normalised = sum === 0 ? w : w / sum;
      weight[i * taps + k] = Math.trunc((normalised < 0 ? -0.5 : 0.5) + normalised * 2 ** PRECISION_BITS);
    });
  }
  return { taps, first, count, weight };
}

function clip8(sum: number): number {
  const value = Math.floor(sum / 2 ** PRECISION_BITS);
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** One pass: `lines` x `inputSize` pixels at the given strides (in pixels) to `lines` x `outputSize`. */
function pass(
  input: Uint8Array,
  lines: number,
  inputStride: { line: number; pixel: number },
  output: Uint8Array,
  outputSize: number,
  outputStride: { line: number; pixel: number },
  weights: Weights,
): void {
  const { taps, first, count, weight } = weights;
  const half = 2 ** (PRECISION_BITS - 1);
  for (let i = 0; i < outputSize; i++) {
    const from = first[i] ?? 0;
    const n = count[i] ?? 0;
    for (let line = 0; line < lines; line++) {
      let r = half;
      let g = half;
      let b = half;
      let at = 3 * (line * inputStride.line + from * inputStride.pixel);
      for (let k = 0; k < n; k++) {
        const w = weight[i * taps + k] ?? 0;
        r += w * (input[at] ?? 0);
        g += w * (input[at + 1] ?? 0);
        b += w * (input[at + 2] ?? 0);
        at += 3 * inputStride.pixel;
      }
      const to = 3 * (line * outputStride.line + i * outputStride.pixel);
      output[to] = clip8(r);
      output[to + 1] = clip8(g);
      output[to + 2] = clip8(b);
    }
  }
}

/** Resizes interleaved RGB bytes [height, width, 3] to [outHeight, outWidth, 3]. A pass that would change nothing is left out. */
export function resizeBicubic(rgb: Uint8Array, width: number, height: number, outWidth: number, outHeight: number): Uint8Array {
  let current = rgb;
  if (outWidth !== width) {
    const next = new Uint8Array(outWidth * height * 3);
    pass(current, height, { line: width, pixel: 1 }, next, outWidth, { line: outWidth, pixel: 1 }, weightsOf(width, outWidth));
    current = next;
  }
  if (outHeight !== height) {
    const next = new Uint8Array(outWidth * outHeight * 3);
    pass(current, outWidth, { line: 1, pixel: outWidth }, next, outHeight, { line: 1, pixel: outWidth }, weightsOf(height, outHeight));
    current = next;
  }
  return current;
}
