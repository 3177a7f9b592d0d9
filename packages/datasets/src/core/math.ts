/**
 * @file Sine, cosine and the sRGB curve from + - * / alone.
 * ECMAScript leaves `Math.sin`, `Math.pow` and the like to the engine; images must have the same bits in all of them.
 */

export const PI = Math.PI;
const TWO_PI = 2 * PI;

function sineSeries(x: number): number {
  // Taylor series about 0; |x| <= pi/4, error below 1e-16.
  const y = x * x;
  return x * (1 + y * (-1 / 6 + y * (1 / 120 + y * (-1 / 5040 + y * (1 / 362880 + y * (-1 / 39916800 + y * (1 / 6227020800)))))));
}

function cosineSeries(x: number): number {
  const y = x * x;
  return 1 + y * (-1 / 2 + y * (1 / 24 + y * (-1 / 720 + y * (1 / 40320 + y * (-1 / 3628800 + y * (1 / 479001600 + y * (-1 / 87178291200)))))));
}

/** Sine of an angle in radians. */
export function sin(angle: number): number {
  return cos(angle - PI / 2);
}

/** Cosine of an angle in radians. */
export function cos(angle: number): number {
  let x = angle - TWO_PI * Math.floor(angle / TWO_PI);
  if (x > PI) x = TWO_PI - x;
  if (x > 0.75 * PI) return -cosineSeries(PI - x);
  if (x > 0.25 * PI) return sineSeries(PI / 2 - x);
  return cosineSeries(x);
}

/** x^2.4 for x in (0, 1]: x^2 times the fifth root of x^2, by Newton's iteration. */
function power24(x: number): number {
  const a = x * x;
  let r = 1;
  for (let i = 0; i < 200; i++) {
    const r4 = r * r * r * r;
    const next = r - (r * r4 - a) / (5 * r4);
    if (next >= r) break;
    r = next;
  }
  return a * r;
}

/** The linear intensity of an sRGB value in [0, 1] (IEC 61966-2-1). */
export function srgbToLinear(s: number): number {
  return s <= 0.04045 ? s / 12.92 : power24((s + 0.055) / 1.055);
}

const STEPS = 4096;
const thresholds = new Float64Array(257);
const starts = new Uint8Array(STEPS + 1);
{
  for (let k = 1; k < 256; k++) thresholds[k] = srgbToLinear((k - 0.5) / 255);
  thresholds[256] = Infinity;
  let k = 0;
  for (let i = 0; i <= STEPS; i++) {
    while ((thresholds[k + 1] as number) <= i / STEPS && k < 255) k++;
    starts[i] = k;
  }
}

/** The nearest sRGB byte of a linear intensity; values outside [0, 1] are clipped. */
export function linearToByte(value: number): number {
  if (!(value > 0)) return 0;
  if (value >= 1) return 255;
  let k = starts[Math.floor(value * STEPS)] as number;
  while ((thresholds[k + 1] as number) <= value) k++;
  return k;
}
