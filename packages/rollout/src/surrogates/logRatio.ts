import type { TokenView } from '../batch/view.ts';
import { saturate } from '../numeric/saturate.ts';
import type { RowScratch } from './surrogate.ts';

/** Bounds of a log-ratio before exp; the gradient is 0 outside them. */
export interface LogRatioClamp {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

/** verl, EasyR1 and OpenRLHF keep the log-ratio inside ±20; TRL does not clamp. */
export const CLAMP_20: LogRatioClamp = { min: -20, max: 20 };

/** Σ of logp − old over the active tokens of row i, also left in `scratch.logRatio`. */
export function sequenceLogRatio(view: TokenView, i: number, scratch: RowScratch): number {
  const { logps, mask } = view;
  const { old } = scratch;
  const end = view.offsets[i + 1] as number;
  let sum = 0;
  for (let k = view.offsets[i] as number; k < end; k++) {
    if (mask[k]) sum += (logps[k] as number) - (old[k] as number);
  }
  // Overflow in both directions leaves no number: then they cancel.
  sum = sum === sum ? saturate(sum) : 0;
  scratch.logRatio = sum;
  return sum;
}
