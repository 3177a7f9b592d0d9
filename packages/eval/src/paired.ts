/** @file Two models on the same questions, over several seeds: which is better, and whether that is more than chance. */
import { EvalError } from './errors.ts';
import { mcnemar } from './interval.ts';
import { meanInterval, studentTail } from './student.ts';

export interface PairedTest {
  /** Share of right answers of both, over all questions of all seeds. */
  readonly a: number;
  readonly b: number;
  /** Exact two-sided McNemar test of all pairs. It takes questions as independent, which those of one seed are not. */
  readonly p: number;
  /** Two-sided paired t-test of the accuracies of the seeds; null for a single seed, and where all seeds differ by exactly the same, which leaves nothing to test by. */
  readonly pSeeds: number | null;
  readonly n: number;
  /** Seeds in which b had more right answers than a, fewer, or as many. */
  readonly seeds: { readonly better: number; readonly worse: number; readonly equal: number };
}

/** Each list holds one list of outcomes for each seed, of the same questions in the same order. */
export function pairedTest(a: readonly (readonly boolean[])[], b: readonly (readonly boolean[])[]): PairedTest {
  if (a.length !== b.length) throw new EvalError('invalid-input', 'b', `has ${b.length} seeds for ${a.length}.`, 'Pair the same seeds.');
  const n = a.reduce((s, x) => s + x.length, 0);
  if (n === 0) throw new EvalError('invalid-input', 'a', 'holds no outcome.', 'Give at least one seed with outcomes.');
  const empty = a.findIndex((x) => x.length === 0);
  if (empty >= 0) throw new EvalError('invalid-input', `a[${empty}]`, 'holds no outcome.', 'Leave the seed out of both, or give its outcomes.');
  const right = (x: readonly boolean[]) => x.filter(Boolean).length;
  const seeds = { better: 0, worse: 0, equal: 0 };
  const differences: number[] = [];
  a.forEach((x, s) => {
    if (x.length !== b[s]!.length) throw new EvalError('invalid-input', `b[${s}]`, `has ${b[s]!.length} outcomes for ${x.length}.`, 'Pair the outcomes of the same questions.');
    const difference = right(b[s]!) - right(x);
    seeds[difference > 0 ? 'better' : difference < 0 ? 'worse' : 'equal']++;
    differences.push(difference / x.length);
  });
  return { a: right(a.flat()) / n, b: right(b.flat()) / n, p: mcnemar(a.flat(), b.flat()), pSeeds: tTest(differences), n, seeds };
}

/** Whether a mean differs from 0, by Student's t; null for one value, or equal ones other than 0. */
function tTest(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const { mean, sd, n } = meanInterval(values);
  if (mean === 0) return 1;
  // Differences of shares are apart by one over the number of questions; what is far below that is rounding.
  return sd < 1e-9 ? null : 2 * studentTail(Math.abs(mean) / (sd / Math.sqrt(n)), n - 1);
}

/**
 * P-values of tests that are read together, adjusted by Holm (1979) so that the chance of any false finding among them stays below the
 * level that each is compared with: the k-th smallest of m times m - k + 1, never below one before it, at most 1. In the given order.
 */
export function holm(values: readonly number[]): number[] {
  const bad = values.findIndex((p) => !(p >= 0 && p <= 1));
  if (bad >= 0) throw new EvalError('invalid-input', `values[${bad}]`, `is ${values[bad]}.`, 'Give p-values, from 0 to 1.');
  const out = values.map(() => 1);
  let most = 0;
  [...values.keys()].toSorted((i, j) => values[i]! - values[j]!).forEach((i, k) => {
    most = Math.max(most, Math.min(1, (values.length - k) * values[i]!));
    out[i] = most;
  });
  return out;
}

export type Verdict = 'reproduced' | 'not reproduced' | 'not significant';

/**
 * Whether b is above a, as claimed. `not significant` unless McNemar's test finds a difference at the level and the seeds agree:
 * all on its side, or their paired t-test below the level, too. One seed says of two models that they differ, not of two ways of
 * training, and is never enough.
 * @param options.p What is compared with the level in place of the test's own p: where several claims are read together, its value of `holm`.
 */
export function verdict({ a, b, p: own, pSeeds, seeds }: PairedTest, { level = 0.05, p = own }: { readonly level?: number; readonly p?: number } = {}): Verdict {
  const [alike, against] = b > a ? [seeds.better, seeds.worse] : [seeds.worse, seeds.better];
  const agree = (alike > 1 && against + seeds.equal === 0) || (pSeeds !== null && pSeeds < level);
  return p >= level || !agree ? 'not significant' : b > a ? 'reproduced' : 'not reproduced';
}
