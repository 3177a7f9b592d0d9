import type { TokenView } from '../batch/view.ts';
import type { Need } from '../needs.ts';

/** A term with an aggregation of its own: adds its gradient to `dLogp` and returns its value. */
export interface SequenceRegulariser {
  readonly name: string;
  readonly needs: readonly Need[];
  add(view: TokenView, dLogp: Float64Array): number;
}
