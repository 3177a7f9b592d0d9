import type { TokenView } from '../batch/view.ts';
import type { Need } from '../needs.ts';
import type { FusedK3 } from '../surrogates/fusedClip.ts';
import type { RowScratch } from '../surrogates/surrogate.ts';

/** A term added to the loss: it adds coef · value to `scratch.loss` and coef · derivative to `scratch.grad`. */
export interface Regulariser<State = unknown> {
  readonly name: string;
  readonly needs: readonly Need[];
  prepare?(view: TokenView): State;
  /** Adds this row's term and returns the sum over active tokens of its bare value, for the metrics. */
  row(view: TokenView, i: number, scratch: RowScratch, state: State): number;
  /** The metric its mean per token is reported under, if any. */
  readonly metric?: string;
  /** Set where the term is plain k3, which a fused pass computes along with the surrogate. */
  readonly fusedK3?: FusedK3;
}
