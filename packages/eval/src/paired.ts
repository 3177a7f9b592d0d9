/** @file Two models on the same questions, over several seeds: which is better, and whether that is more than chance. */
import { EvalError } from './errors.ts';
import { mcnemar } from './interval.ts';

export interface PairedTest {
  /** Share of right answers of both, over all questions of all seeds. */
  readonly a: number;
  readonly b: number;
  /** Exact two-sided McNemar test of all pairs. */
  readonly p: number;
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
  a.forEach((x, s) => {
    if (x.length !== b[s]!.length) throw new EvalError('invalid-input', `b[${s}]`, `has ${b[s]!.length} outcomes for ${x.length}.`, 'Pair the outcomes of the same questions.');
    const difference = right(b[s]!) - right(x);
    seeds[difference > 0 ? 'better' : difference < 0 ? 'worse' : 'equal']++;
  });
  return { a: right(a.flat()) / n, b: right(b.flat()) / n, p: mcnemar(a.flat(), b.flat()), n, seeds };
}

export type Verdict = 'reproduced' | 'not reproduced' | 'not significant';

/** Whether b is above a, as claimed: `not significant` when the paired test leaves it open at the level. */
export function verdict({ a, b, p }: PairedTest, level = 0.05): Verdict {
  return p >= level ? 'not significant' : b > a ? 'reproduced' : 'not reproduced';
}
