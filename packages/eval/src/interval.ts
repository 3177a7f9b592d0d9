import { EvalError } from './errors.ts';

export interface Proportion {
  readonly accuracy: number;
  /** Ends of the 95 % interval. */
  readonly low: number;
  readonly high: number;
  readonly n: number;
}

/** Share of successes with its Wilson score interval (1927), which keeps within 0 and 1 also for few trials. */
export function proportion(successes: number, n: number, z = 1.959963984540054): Proportion {
  if (!Number.isInteger(n) || n < 1) throw new EvalError('invalid-input', 'n', `is ${n}.`, 'Give the number of trials, at least 1.');
  if (!Number.isInteger(successes) || successes < 0 || successes > n) throw new EvalError('invalid-input', 'successes', `is ${successes} of ${n}.`, 'Give a whole number from 0 to n.');
  const p = successes / n;
  const d = 1 + (z * z) / n;
  const centre = (p + (z * z) / (2 * n)) / d;
  const half = (z / d) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return { accuracy: p, low: Math.max(0, centre - half), high: Math.min(1, centre + half), n };
}

/**
 * Exact two-sided McNemar test on paired outcomes: the probability of a split of the discordant pairs at least as uneven.
 * Summed relative to its largest term, which is a logarithm until the end: 0 only where the probability is below the smallest number.
 */
export function mcnemar(a: readonly boolean[], b: readonly boolean[]): number {
  if (a.length !== b.length) throw new EvalError('invalid-input', 'b', `has ${b.length} outcomes for ${a.length}.`, 'Pair the outcomes of the same examples.');
  let onlyA = 0;
  let onlyB = 0;
  a.forEach((x, i) => {
    if (x && !b[i]) onlyA++;
    if (!x && b[i]) onlyB++;
  });
  const n = onlyA + onlyB;
  const fewer = Math.min(onlyA, onlyB);
  let logLargest = -n * Math.LN2;
  for (let k = 1; k <= fewer; k++) logLargest += Math.log((n - k + 1) / k);
  let term = 1;
  let sum = 0;
  for (let k = fewer; k >= 0; k--) {
    sum += term;
    term *= k / (n - k + 1);
  }
  return Math.min(1, 2 * Math.exp(logLargest) * sum);
}
