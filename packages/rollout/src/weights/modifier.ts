import type { TokenView } from '../batch/view.ts';
import type { Need } from '../needs.ts';
import type { RowScratch } from '../surrogates/surrogate.ts';

/**
 * Something that multiplies the policy term of a row's tokens: a token selector (0 or 1) or an importance weight.
 *
 * `prepare` is there only where rows depend on each other. `before` is the batch as it was before rejection.
 */
export interface Modifier<State = unknown> {
  readonly name: string;
  readonly needs: readonly Need[];
  prepare?(view: TokenView, metrics: Record<string, number>, before: TokenView): State;
  row(view: TokenView, i: number, scratch: RowScratch, state: State, before: TokenView): void;
}

/** The same modifier, seeing the tokens that rejection took out as well. */
export function beforeRejection<State>(modifier: Modifier<State>): Modifier<State> {
  const { prepare } = modifier;
  return {
    ...modifier,
    ...(prepare === undefined ? {} : { prepare: (_view, metrics, before) => prepare(before, metrics, before) }),
    row: (_view, i, scratch, state, before) => modifier.row(before, i, scratch, state, before),
  };
}

/** Multiplies position t of the row by w, loss and gradient alike. */
export function scaleToken(scratch: RowScratch, t: number, w: number): void {
  scratch.loss[t] = (scratch.loss[t] as number) * w;
  scratch.grad[t] = (scratch.grad[t] as number) * w;
}
