import { checkNumber } from '../error.ts';
import { MAX_EXPONENT } from '../numeric/saturate.ts';
import { type LogRatioClamp, sequenceLogRatio } from './logRatio.ts';
import type { Surrogate } from './surrogate.ts';

export interface SoftGateOptions {
  /** Temperature at A > 0. Default 1. */
  readonly tauPositive?: number | undefined;
  /** Temperature at A ≤ 0. Default 1.05. */
  readonly tauNegative?: number | undefined;
  readonly level?: 'token' | 'sequence' | undefined;
  readonly logRatioClamp?: LogRatioClamp | undefined;
}

/**
 * SAPO, soft adaptive policy optimisation (arXiv 2511.20347): a sigmoid gate in place of the clip,
 *
 *   L = −(4/τ) σ(τ (r − 1)) A,     dL/dlogp = −4 p (1 − p) r A,   p = σ(τ (r − 1))
 *
 * The slope at r = 1 is −A for every τ.
 */
export function softGate({ tauPositive = 1, tauNegative = 1.05, level = 'token', logRatioClamp = {} }: SoftGateOptions = {}): Surrogate {
  checkNumber('tauPositive', tauPositive, Number.MIN_VALUE);
  checkNumber('tauNegative', tauNegative, Number.MIN_VALUE);
  const top = Math.min(logRatioClamp.max ?? Infinity, MAX_EXPONENT);
  const bottom = logRatioClamp.min ?? -Infinity;
  const coupled = level === 'sequence';
  return {
    name: 'softGate',
    needs: [],
    coupled,
    perSequence: coupled,
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, share, old } = scratch;
      const count = Math.max(view.counts[i] as number, 1);
      const z = coupled ? sequenceLogRatio(view, i, scratch) / count : 0;
      const end = offsets[i + 1] as number;
      let sum = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        share[t] = 0;
        if (!mask[k]) continue;
        share[t] = 1 / count;
        const raw = coupled ? z : (logps[k] as number) - (old[k] as number);
        const x = Math.min(Math.max(raw, bottom), top);
        sum += Math.max(x, -1e300);
        const r = Math.exp(x);
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        const tau = a > 0 ? tauPositive : tauNegative;
        const y = tau * (r - 1);
        const p = 1 / (1 + Math.exp(-y));
        // 1 − p as σ(−y): no cancellation for a large ratio.
        const q = 1 / (1 + Math.exp(y));
        loss[t] = -(4 / tau) * p * a;
        grad[t] = x === raw ? -4 * p * q * r * a : 0;
      }
      scratch.logRatio = sum;
    },
  };
}
