import { checkNumber } from '../error.ts';
import { safeExp, saturate } from '../numeric/saturate.ts';
import type { TokenView } from '../batch/view.ts';
import type { Surrogate } from './surrogate.ts';

export interface KlCovOptions {
  /** Share of the active tokens that get the penalty, at least one token. Default 2e-4. */
  readonly ratio?: number | undefined;
  /** Weight of |Δ| on them. Default 0.1 (verl's config; 1 in the paper's code). */
  readonly coefficient?: number | undefined;
}

/**
 * KL-Cov (arXiv 2505.22617, verl `kl_cov`): the tokens whose advantage and log-probability vary together most get a
 * penalty, all others the plain ratio,
 *
 *   L = −r A (+ c |Δ| on the chosen),     dL/dlogp = −r A (+ c sign Δ)
 *
 * The choice is over the whole batch, so it changes when a batch is split.
 */
export function klCov({ ratio = 2e-4, coefficient = 0.1 }: KlCovOptions = {}): Surrogate<Uint8Array> {
  checkNumber('ratio', ratio, Number.MIN_VALUE, 1);
  checkNumber('coefficient', coefficient);
  return {
    name: 'klCov',
    needs: [],
    coupled: false,
    perSequence: false,
    prepare: (view) => chooseByCovariance(view, ratio),
    row(view, i, scratch, chosen) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, old } = scratch;
      const end = offsets[i + 1] as number;
      let sum = 0;
      let absolute = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        if (!mask[k]) continue;
        const x = saturate((logps[k] as number) - (old[k] as number));
        sum += x;
        absolute += Math.abs(x);
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        const r = safeExp(x);
        const penalty = chosen[k] === 1 ? coefficient : 0;
        loss[t] = saturate(-r * a) + penalty * Math.abs(x);
        grad[t] = saturate(-r * a) + penalty * Math.sign(x);
      }
      scratch.logRatio = sum;
      scratch.extra = absolute;
    },
  };
}

function chooseByCovariance(view: TokenView, ratio: number): Uint8Array {
  const { logps, mask, advantages, perToken, offsets } = view;
  const positions: number[] = [];
  const rowOf: number[] = [];
  let meanA = 0;
  let meanL = 0;
  for (let i = 0; i < view.rows; i++) {
    for (let k = offsets[i] as number; k < (offsets[i + 1] as number); k++) {
      if (!mask[k]) continue;
      positions.push(k);
      rowOf.push(i);
      meanA += (perToken ? advantages[k] : advantages[i]) as number;
      meanL += logps[k] as number;
    }
  }
  const chosen = new Uint8Array(view.tokens);
  if (positions.length === 0) return chosen;
  meanA /= positions.length;
  meanL /= positions.length;
  const covariance = positions.map((k, n) => (((perToken ? advantages[k] : advantages[rowOf[n] as number]) as number) - meanA) * ((logps[k] as number) - meanL));
  const order = positions.map((_, n) => n);
  order.sort((x, y) => (covariance[y] as number) - (covariance[x] as number));
  const count = Math.max(1, Math.trunc(positions.length * ratio));
  for (const n of order.slice(0, count)) chosen[positions[n] as number] = 1;
  return chosen;
}
