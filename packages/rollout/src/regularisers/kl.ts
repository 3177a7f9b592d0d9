import type { TokenView } from '../batch/view.ts';
import { checkChoice, checkNumber } from '../error.ts';
import { LIMIT, MAX_EXPONENT, safeExp, saturate } from '../numeric/saturate.ts';
import { sequenceLogRatio } from '../surrogates/logRatio.ts';
import type { RowScratch } from '../surrogates/surrogate.ts';
import type { FusedK3 } from '../surrogates/fusedClip.ts';
import type { Regulariser } from './regulariser.ts';

/** Schulman's estimators of the KL divergence from the reference (joschu.net/blog/kl-approx.html). */
export type KlEstimator = 'k1' | 'abs' | 'k2' | 'k3';

export interface KlOptions {
  /** Default `k3`. */
  readonly estimator?: KlEstimator | undefined;
  /** verl's suffix `+`: the value of the estimator with the gradient of k2. */
  readonly k2Gradient?: boolean | undefined;
  /** Bound of |refLogp − logp| before exp in k3 (verl, EasyR1 20). Default none. */
  readonly logRatioClamp?: number | undefined;
  /** Bound of k3's value (verl, EasyR1 10); the gradient is 0 outside. Default none. */
  readonly valueClamp?: number | undefined;
  /** OpenRLHF bounds every estimator, not only k3. Default false. */
  readonly clampEveryEstimator?: boolean | undefined;
  /** Compute in float32, as a library that casts first does (EasyR1, OpenRLHF). Default false. */
  readonly float32?: boolean | undefined;
  /** With `float32`, k3 as (e^d − 1) − d (OpenRLHF) and not (e^d − d) − 1 (EasyR1). Default false. */
  readonly oneFirst?: boolean | undefined;
}

/** Value and derivative with respect to logp of a KL estimator, one token: writes [value, gradient]. */
export function klEstimate(logp: number, refLogp: number, options: KlOptions, out: Float64Array): void {
  const { estimator = 'k3', k2Gradient = false, clampEveryEstimator = false } = options;
  const round = options.float32 === true ? Math.fround : identity;
  const l = round(logp);
  const ref = round(refLogp);
  const raw = round(l - ref);
  const difference = saturate(raw);
  let value: number;
  let slope: number;
  if (estimator === 'k3') {
    const bound = options.logRatioClamp ?? Infinity;
    const d = Math.min(Math.max(-difference, -bound), bound);
    const ratio = round(safeExp(d));
    // expm1 keeps k3 at least 0 for a tiny gap; the libraries' exp(d) − d − 1 agrees to 1e-16.
    const [first, second] = options.oneFirst === true ? [1, d] : [d, 1];
    value = options.float32 === true ? round(round(ratio - first) - second) : k3Of(d, ratio);
    slope = d === -difference ? round(1 - ratio) : 0;
  } else if (estimator === 'k2') {
    value = round(0.5 * round(difference * difference));
    slope = difference;
  } else if (estimator === 'abs') {
    value = Math.abs(difference);
    slope = Math.sign(difference);
  } else {
    value = difference;
    slope = 1;
  }
  const bound = estimator === 'k3' || clampEveryEstimator ? (options.valueClamp ?? LIMIT) : LIMIT;
  const cut = Math.min(Math.max(value, -bound), bound);
  if (cut !== value && options.valueClamp !== undefined) slope = 0;
  out[0] = cut;
  out[1] = k2Gradient ? difference : saturate(slope);
}

/** ratio − d − 1 with ratio = exp(d); near 0 without cancellation, as d²/2 + d³/6 + d⁴/24 + d⁵/120. */
function k3Of(d: number, ratio: number): number {
  return Math.abs(d) < 1e-3 ? d * d * (0.5 + d * (1 / 6 + d * (1 / 24 + d / 120))) : ratio - d - 1;
}

function identity(x: number): number {
  return x;
}

/**
 * β · KL(π_θ ‖ π_ref), estimated from the sampled tokens:
 *
 *   k1 = logp − ref          dk1/dlogp = 1
 *   k2 = ½ (logp − ref)²     dk2/dlogp = logp − ref
 *   k3 = e^{ref − logp} − (ref − logp) − 1      dk3/dlogp = 1 − e^{ref − logp}
 */
export function klPenalty(beta: number, options: KlOptions = {}): Regulariser {
  checkNumber('beta', beta, 0);
  checkChoice('estimator', options.estimator ?? 'k3', ['k1', 'abs', 'k2', 'k3'] as const);
  const plain = (options.estimator ?? 'k3') === 'k3' && options.k2Gradient !== true && options.float32 !== true;
  return {
    name: `kl(${options.estimator ?? 'k3'})`,
    needs: ['refLogps'],
    metric: 'kl',
    ...(plain ? { fusedK3: fusedTerm(beta, options) } : {}),
    row: plain
      ? (view, i, scratch) => k3Row(view, i, scratch, beta, options.logRatioClamp ?? MAX_EXPONENT, options.logRatioClamp !== undefined, options.valueClamp ?? LIMIT)
      : (view, i, scratch) => anyRow(view, i, scratch, beta, options),
  };
}

function k3Row(view: TokenView, i: number, scratch: RowScratch, beta: number, top: number, stops: boolean, bound: number): number {
  const { logps, mask } = view;
  const refs = view.refLogps as ArrayLike<number>;
  const { loss, grad } = scratch;
  const bottom = stops ? -top : -LIMIT;
  const end = view.offsets[i + 1] as number;
  let sum = 0;
  for (let k = view.offsets[i] as number, t = 0; k < end; k++, t++) {
    if (!mask[k]) continue;
    const raw = (refs[k] as number) - (logps[k] as number);
    const d = Math.min(Math.max(raw, bottom), top);
    const ratio = Math.exp(d);
    let value = k3Of(d, ratio);
    let slope = stops && d !== raw ? 0 : 1 - ratio;
    if (value > bound) {
      value = bound;
      slope = bound === LIMIT ? -LIMIT : 0;
    }
    sum += value;
    loss[t] = (loss[t] as number) + beta * value;
    grad[t] = (grad[t] as number) + beta * slope;
  }
  return sum;
}

function anyRow(view: TokenView, i: number, scratch: RowScratch, beta: number, options: KlOptions): number {
  const { logps, mask } = view;
  const refs = view.refLogps as ArrayLike<number>;
  const { loss, grad } = scratch;
  const pair = new Float64Array(2);
  const end = view.offsets[i + 1] as number;
  let sum = 0;
  for (let k = view.offsets[i] as number, t = 0; k < end; k++, t++) {
    if (!mask[k]) continue;
    klEstimate(logps[k] as number, refs[k] as number, options, pair);
    sum += pair[0] as number;
    loss[t] = (loss[t] as number) + beta * (pair[0] as number);
    grad[t] = (grad[t] as number) + beta * (pair[1] as number);
  }
  return sum;
}

/**
 * TRL's `use_bias_correction_kl`: k3 times the ratio, with the gradient through both (DeepSeek-V3.2, arXiv 2512.02556).
 *
 *   token level:     d(k3 r)/dlogp = r (1 − e^{ref − logp}) + k3 r
 *   sequence level:  s (1 − e^{ref − logp}_u) + Σ_t k3_t s m_u / T
 */
export function biasCorrectedKl(beta: number, level: 'token' | 'sequence'): Regulariser {
  checkNumber('beta', beta, 0);
  return {
    name: 'kl(k3, bias-corrected)',
    needs: ['refLogps', 'oldLogps'],
    metric: 'kl',
    row(view, i, scratch) {
      const { logps, mask, offsets } = view;
      const refs = view.refLogps as ArrayLike<number>;
      const { loss, grad, old } = scratch;
      const start = offsets[i] as number;
      const end = offsets[i + 1] as number;
      const count = Math.max(view.counts[i] as number, 1);
      const z = level === 'sequence' ? sequenceLogRatio(view, i, scratch) / count : 0;
      const pair = new Float64Array(2);
      let sum = 0;
      for (let k = start, t = 0; k < end; k++, t++) {
        if (!mask[k]) continue;
        const x = level === 'sequence' ? z : (logps[k] as number) - (old[k] as number);
        const r = safeExp(x);
        klEstimate(logps[k] as number, refs[k] as number, {}, pair);
        const value = Math.min((pair[0] as number) * r, LIMIT);
        sum += value;
        loss[t] = (loss[t] as number) + beta * value;
        const own = level === 'token' ? value : 0;
        grad[t] = (grad[t] as number) + beta * saturate((pair[1] as number) * r + own);
      }
      if (level === 'sequence') {
        for (let k = start, t = 0; k < end; k++, t++) if (mask[k]) grad[t] = (grad[t] as number) + (beta * sum) / count;
      }
      return sum;
    },
  };
}

/** Where neither clamp acts: k3 is at most its clamp for d between 1 − clamp (e^d ≥ 0) and log(1 + clamp) (d ≥ 0). */
function fusedTerm(beta: number, { logRatioClamp, valueClamp }: KlOptions): FusedK3 {
  if (logRatioClamp === undefined && valueClamp === undefined) return { beta, least: -Infinity, most: Infinity };
  const bound = valueClamp ?? Infinity;
  const limit = logRatioClamp ?? Infinity;
  return { beta, least: Math.max(-limit, -bound), most: Math.min(limit, Math.log1p(bound)) };
}
