import type { TokenView } from '../batch/view.ts';
import { LIMIT, saturate } from '../numeric/saturate.ts';
import type { LogRatioClamp } from './logRatio.ts';
import type { RowScratch, Surrogate } from './surrogate.ts';

/** A surrogate in which no token knows of another: what it does with one active token is all there is to it. */
export interface Tokenwise<State = undefined> {
  readonly name: string;
  /** Bounds of the log-ratio; finite doubles without them. */
  readonly clamp?: LogRatioClamp;
  prepare?(view: TokenView): State;
  /** Position k of the batch, t of its row; x the log-ratio, a the advantage: fills `loss[t]` and `grad[t]`. */
  token(scratch: RowScratch, k: number, t: number, x: number, a: number, logp: number, state: State): void;
}

/** Goes over a row: masked positions get 0, active ones what `token` gives them. */
export function tokenwise<State = undefined>({ name, clamp = {}, prepare, token }: Tokenwise<State>): Surrogate<State> {
  const { min = -LIMIT, max = LIMIT } = clamp;
  return {
    name,
    needs: [],
    coupled: false,
    perSequence: false,
    ...(prepare === undefined ? {} : { prepare }),
    row(view, i, scratch, state) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, old } = scratch;
      const end = offsets[i + 1] as number;
      let sum = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        if (!mask[k]) continue;
        const logp = logps[k] as number;
        const raw = logp - (old[k] as number);
        const x = Math.min(Math.max(raw, min), max);
        sum += x;
        token(scratch, k, t, x, (perToken ? advantages[k] : advantages[i]) as number, logp, state);
      }
      scratch.logRatio = sum;
    },
  };
}

/** A log-likelihood whose weight is held still: L = −w A logp, dL/dlogp = −w A. */
export function weightedLogLikelihood({ loss, grad }: RowScratch, t: number, weight: number, a: number, logp: number): void {
  const g = saturate(-weight * a);
  loss[t] = g * logp;
  grad[t] = g;
}
