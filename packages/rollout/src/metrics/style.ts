import type { TokenView } from '../batch/view.ts';
import type { Tally } from './tally.ts';

/** What a metric style sees once all rows are done. */
export interface MetricSource {
  readonly tally: Tally;
  readonly view: TokenView;
  readonly perSequence: boolean;
  /** Name of the surrogate: some metrics exist only for one. */
  readonly surrogate: string;
  readonly hasKl: boolean;
  /** The loss before the entropy bonus, and the bonus's coefficient when there is one. */
  readonly policyLoss: number;
  readonly entropyCoef: number | undefined;
}

/** How a library names and computes its metrics. */
export interface MetricStyle {
  readonly name: string;
  /** Needs Σ logp. */
  readonly wantsLogp?: boolean;
  report(source: MetricSource): Record<string, number>;
}
