import { RolloutError, checkNumber } from '../error.ts';
import { moments } from '../numeric/moments.ts';
import { quantile } from '../numeric/quantile.ts';
import { everyRow } from './rows.ts';

/** The tracked quantiles; plain data, so it can be stored with a run. */
export interface RiskPoState {
  readonly low: number;
  readonly high: number;
}

export interface RiskPoOptions {
  /** Levels of the two quantiles. Defaults 0.2 and 0.9. */
  readonly alpha?: number | undefined;
  readonly beta?: number | undefined;
  /** Weight of the tail below the lower quantile. Default 1.5. */
  readonly omega?: number | undefined;
  /** Step of the tracker q ← q + rate (level − 1[S ≤ q]); 0 takes the bundle's own quantiles. Default 0.1. */
  readonly quantileRate?: number | undefined;
  /** Divide by the deviation of the advantages + 1e-6; equal ones become 0. Default true. */
  readonly normalize?: boolean | undefined;
}

/**
 * RiskPO's mixed value-at-risk advantages (October 2025) of bundles: S is the summed reward of the j-th rollout of
 * each of a bundle's prompts,
 *
 *   A_range = [(S − q_l)⁺ − (S − q_u)⁺ + q_l − q_u] / (β − α)     A_tail = −(q_l − S)⁺ / α     A = (ω A_tail + A_range) / (1 + ω)
 *
 * Every A is ≤ 0, and 0 from the upper quantile on: it only pushes away from what is bad. All rollouts of a bundle share
 * its A (credit `uniform`; the script's default divides by each question's deviation, which is the caller's).
 *
 * @returns one advantage a bundle score, and the quantiles to go on with.
 */
export function riskPoAdvantages(scores: ArrayLike<number>, state: RiskPoState | undefined, options: RiskPoOptions = {}): { advantages: Float64Array; state: RiskPoState } {
  const { alpha = 0.2, beta = 0.9, omega = 1.5, quantileRate = 0.1, normalize = true } = options;
  checkNumber('alpha', alpha, 1e-6, 1);
  checkNumber('beta', beta, alpha + 1e-6, 1);
  checkNumber('omega', omega, 0);
  if (scores.length === 0) throw new RolloutError('empty-batch', 'scores', scores, 'holds no bundle', 'Pass at least one score.');
  for (let i = 0; i < scores.length; i++) checkNumber(`scores[${i}]`, scores[i]);
  const own = { low: quantile(scores, alpha), high: quantile(scores, beta) };
  const q = state === undefined || quantileRate === 0 ? own : state;
  const advantages = Float64Array.from(scores, (s) => {
    const range = (Math.min(Math.max(s, q.low), q.high) - q.high) / (beta - alpha);
    const tail = -Math.max(q.low - s, 0) / alpha;
    return (omega * tail + range) / (1 + omega);
  });
  if (normalize && scores.length > 1) {
    const m = moments(advantages, everyRow(advantages.length));
    for (let i = 0; i < advantages.length; i++) advantages[i] = m.equal ? 0 : (advantages[i] as number) / (m.sd / m.scale + 1e-6);
  }
  return { advantages, state: { low: track(q.low, alpha, scores, quantileRate), high: track(q.high, beta, scores, quantileRate) } };
}

function track(q: number, level: number, scores: ArrayLike<number>, rate: number): number {
  let below = 0;
  for (let i = 0; i < scores.length; i++) if ((scores[i] as number) <= q) below++;
  return q + rate * (level - below / scores.length);
}
