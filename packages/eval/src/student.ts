/** @file Means over seeds with Student's interval. */
import { EvalError } from './errors.ts';

export interface MeanInterval {
  readonly mean: number;
  /** Sample standard deviation (n - 1); 0 for one value. */
  readonly sd: number;
  /** 95 % interval of the mean by Student's t; the whole line for one value. */
  readonly low: number;
  readonly high: number;
  readonly n: number;
}

/** Mean of a few independent runs (seeds) with its 95 % interval: mean ± t(0.975, n - 1) sd / sqrt(n). */
export function meanInterval(values: readonly number[]): MeanInterval {
  const n = values.length;
  if (n === 0 || values.some((v) => !Number.isFinite(v))) throw new EvalError('invalid-input', 'values', n === 0 ? 'is empty.' : 'holds a number that is not finite.', 'Give one finite number for each run.');
  const mean = values.reduce((a, b) => a + b, 0) / n;
  if (n === 1) return { mean, sd: 0, low: -Infinity, high: Infinity, n };
  const sd = Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / (n - 1));
  const half = (studentQuantile(0.975, n - 1) * sd) / Math.sqrt(n);
  return { mean, sd, low: mean - half, high: mean + half, n };
}

/** The t with P(T <= t) = p for p >= 0.5, by bisection of the distribution function. */
export function studentQuantile(p: number, df: number): number {
  if (!(p >= 0.5 && p < 1)) throw new EvalError('invalid-input', 'p', `is ${p}.`, 'Give a probability from 0.5 to below 1.');
  if (!(df > 0)) throw new EvalError('invalid-input', 'df', `is ${df}.`, 'Give positive degrees of freedom.');
  let low = 0;
  let high = 1;
  while (1 - studentTail(high, df) < p) high *= 2;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (1 - studentTail(middle, df) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(T > t) for t >= 0: I(df / (df + t²); df / 2, 1 / 2) / 2 (Abramowitz and Stegun 26.7.1). */
export function studentTail(t: number, df: number): number {
  return incompleteBeta(df / (df + t * t), df / 2, 0.5) / 2;
}

/** The regularised incomplete beta function by its continued fraction (Abramowitz and Stegun 26.5.8), modified Lentz. */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const tiny = 1e-300;
  let c = 1;
  let d = 1 / Math.max(1 - ((a + b) * x) / (a + 1), tiny);
  let fraction = d;
  for (let m = 1; m < 500; m++) {
    for (const term of [(m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)), (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / (Math.abs(1 + term * d) < tiny ? tiny : 1 + term * d);
      c = 1 + term / c;
      if (Math.abs(c) < tiny) c = tiny;
      fraction *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return (Math.exp(a * Math.log(x) + b * Math.log(1 - x) - logBeta(a, b)) * fraction) / a;
}

function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

/** Lanczos' approximation with g = 7, nine terms (Godfrey's coefficients). */
function logGamma(z: number): number {
  const c = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
  if (z < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * z)) - logGamma(1 - z);
  const x = z - 1;
  const sum = c.slice(1).reduce((s, ci, i) => s + ci / (x + i + 1), c[0]!);
  const t = x + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (x + 0.5) * Math.log(t) - t + Math.log(sum);
}
