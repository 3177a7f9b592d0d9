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
  /** Two-sided paired t-test of the accuracies of the seeds; null for a single seed. */
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

/** Whether a mean differs from 0, by Student's t; null for one value. */
function tTest(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const { mean, sd, n } = meanInterval(values);
  return mean === 0 ? 1 : 2 * studentTail(Math.abs(mean) / (sd / Math.sqrt(n)), n - 1);
}

export type Verdict = 'reproduced' | 'not reproduced' | 'not significant';

/**
 * Whether b is above a, as claimed. `not significant` unless McNemar's test finds a difference at the level and the seeds agree:
 * all on its side, or their paired t-test below the level, too.
 */
export function verdict({ a, b, p, pSeeds, seeds }: PairedTest, level = 0.05): Verdict {
  const [alike, against] = b > a ? [seeds.better, seeds.worse] : [seeds.worse, seeds.better];
  const agree = (alike > 0 && against + seeds.equal === 0) || (pSeeds !== null && pSeeds < level);
  return p >= level || !agree ? 'not significant' : b > a ? 'reproduced' : 'not reproduced';
}
