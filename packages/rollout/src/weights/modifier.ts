import type { TokenView } from '../batch/view.ts';
import type { Need } from '../needs.ts';
import type { RowScratch } from '../surrogates/surrogate.ts';

/** Something that multiplies the policy term of a row's tokens: a token selector (0 or 1) or an importance weight. */
export interface Modifier<State = unknown> {
  readonly name: string;
  readonly needs: readonly Need[];
  prepare?(view: TokenView, metrics: Record<string, number>): State;
  row(view: TokenView, i: number, scratch: RowScratch, state: State): void;
}

/** Multiplies position t of the row by w, loss and gradient alike. */
export function scaleToken(scratch: RowScratch, t: number, w: number): void {
  scratch.loss[t] = (scratch.loss[t] as number) * w;
  scratch.grad[t] = (scratch.grad[t] as number) * w;
}
