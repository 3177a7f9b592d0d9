import { checkNumber } from '../error.ts';
import { safeExp, saturate } from '../numeric/saturate.ts';
import type { TokenView } from '../batch/view.ts';
import type { Surrogate } from './surrogate.ts';
import { tokenwise } from './tokenwise.ts';

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
  return tokenwise({
    name: 'klCov',
    prepare: (view) => chooseByCovariance(view, ratio),
    token(scratch, k, t, x, a, _, chosen) {
      const surrogate = saturate(-safeExp(x) * a);
      const penalty = chosen[k] === 1 ? coefficient : 0;
      scratch.extra += Math.abs(x);
      scratch.loss[t] = surrogate + penalty * Math.abs(x);
      scratch.grad[t] = surrogate + penalty * Math.sign(x);
    },
  });
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
  meanA /= positions.length;
  meanL /= positions.length;
  const covariance = positions.map((k, n) => (((perToken ? advantages[k] : advantages[rowOf[n] as number]) as number) - meanA) * ((logps[k] as number) - meanL));
  const order = positions.map((_, n) => n);
  order.sort((x, y) => (covariance[y] as number) - (covariance[x] as number));
  const count = Math.max(1, Math.trunc(positions.length * ratio));
  for (const n of order.slice(0, count)) chosen[positions[n] as number] = 1;
  return chosen;
}
