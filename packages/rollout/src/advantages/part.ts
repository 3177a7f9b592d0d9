import type { Need } from '../needs.ts';
import type { AdvantageContext } from './input.ts';

/** A way from rewards to advantages: a pure function, with the inputs it cannot do without. */
export interface AdvantagePart {
  readonly name: string;
  readonly needs: readonly Need[];
  /** Writes one advantage a rollout. A rollout without a reward gets 0 and moves nobody else's. */
  apply(context: AdvantageContext, out: Float64Array): void;
}
