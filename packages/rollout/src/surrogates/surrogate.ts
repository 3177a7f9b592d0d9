import type { TokenView } from '../batch/view.ts';
import type { Need } from '../needs.ts';
import type { FusedK3 } from './fusedClip.ts';
import type { Limits, Sums } from './fusedLoops.ts';

/**
 * Room for one row, reused for every row: no allocation grows with the batch.
 *
 * A surrogate fills `loss` and `grad` for the row's positions (0 at masked ones) and the counts of what it clipped.
 */
export interface RowScratch {
  /** Per position: the loss before aggregation. */
  readonly loss: Float64Array;
  /** Per position: d loss / d logp; for a coupled surrogate d loss / d z, z being the row's log-ratio. */
  readonly grad: Float64Array;
  /** Coupled surrogates: dz / d logp of each position. */
  readonly share: Float64Array;
  /** The log-probabilities in the denominator of the ratio for this row. */
  old: ArrayLike<number>;
  /** Active tokens (or 1 for a sequence ratio) clipped below, clipped above, and capped at a negative advantage. */
  low: number;
  high: number;
  capped: number;
  /** Σ of the log-ratio over active tokens. */
  logRatio: number;
  /** Σ over active tokens of whatever the surrogate reports (VESPO's φ, CISPO's clip count). */
  extra: number;
  /** Multiplier of this row's loss in the total. */
  scale: number;
  /** The single pass: what its loops compare with, and what they add up. */
  readonly limits: Limits;
  readonly sums: Sums;
}

/** A per-token objective with its derivative. `State` is what one pass over the batch prepares. */
export interface Surrogate<State = unknown> {
  readonly name: string;
  readonly needs: readonly Need[];
  /** The gradient of a token's loss reaches every token of its row (one ratio a sequence). */
  readonly coupled: boolean;
  /** Clip counts are of sequences, not of tokens. */
  readonly perSequence: boolean;
  prepare?(view: TokenView): State;
  row(view: TokenView, i: number, scratch: RowScratch, state: State): void;
  /** One pass for the whole row, gradient included, where nothing stands between this surrogate and the sum. */
  readonly fused?: (view: TokenView, i: number, scratch: RowScratch, dLogp: Float64Array, k3: FusedK3 | undefined) => number;
}

export function makeScratch(columns: number, coupled: boolean): RowScratch {
  return {
    loss: new Float64Array(columns),
    grad: new Float64Array(columns),
    share: new Float64Array(coupled ? columns : 0),
    old: [],
    low: 0,
    high: 0,
    capped: 0,
    logRatio: 0,
    extra: 0,
    scale: 0,
    limits: new Float64Array(7),
    sums: new Float64Array(5),
  };
}
