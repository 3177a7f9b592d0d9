import type { TokenView } from '../batch/view.ts';
import { checkChoice, checkNumber } from '../error.ts';
import { MAX_EXPONENT } from '../numeric/saturate.ts';
import { fusedClipRow } from './fusedClip.ts';
import { type LogRatioClamp, sequenceLogRatio } from './logRatio.ts';
import type { RowScratch, Surrogate } from './surrogate.ts';

export interface ClipOptions {
  /** Lower bound 1 − epsilon. Default 0.2. */
  readonly epsilon?: number | undefined;
  /** Upper bound 1 + epsilonHigh. Default: epsilon. */
  readonly epsilonHigh?: number | undefined;
  /** INTELLECT-2's two-sided clip: the unclipped branch uses min(r, delta). */
  readonly delta?: number | undefined;
  /** Dual clip (arXiv 1912.09729): at a negative advantage the loss is at most dualClip · |A|. */
  readonly dualClip?: number | undefined;
  /**
   * The ratio: of each `token`; of the `sequence`, exp of the mean log-ratio (GSPO); `sequence-token`, that value with
   * each token's own gradient; or `product`, exp of the summed log-ratio (TRL's RLOO).
   */
  readonly level?: 'token' | 'sequence' | 'sequence-token' | 'product' | undefined;
  /** Bounds of the log-ratio; outside them the gradient is 0. */
  readonly logRatioClamp?: LogRatioClamp | undefined;
  /** Added to the token count of a sequence's mean (EasyR1 1e-8). Default 0. */
  readonly countEpsilon?: number | undefined;
  /** What the clip metrics of a sequence ratio count: one a sequence (TRL, default), or each of its tokens. */
  readonly clipCount?: 'sequences' | 'tokens' | undefined;
}

/** [floor at A < 0, ceiling at A > 0, cap at A < 0]: the only three numbers the clipped surrogate depends on. */
export interface Bounds {
  readonly low: number;
  readonly high: number;
  readonly ceiling: number;
  readonly cap: number;
}

/**
 * The clipped surrogate of PPO (arXiv 1707.06347) with two bounds (DAPO, arXiv 2503.14476):
 *
 *   L = −min(r A, clip(r, 1 − ε_l, 1 + ε_h) A),     dL/dlogp = −r A where the unclipped branch is taken, else 0
 *
 * GSPO (arXiv 2507.18071) at level `sequence`: dL/dlogp = −s A m / T for every token of the sequence.
 */
export function clip(options: ClipOptions = {}): Surrogate {
  const { level = 'token', countEpsilon = 0 } = options;
  checkChoice('level', level, ['token', 'sequence', 'sequence-token', 'product'] as const);
  const epsilon = checkNumber('epsilon', options.epsilon ?? 0.2, 0);
  const epsilonHigh = checkNumber('epsilonHigh', options.epsilonHigh ?? epsilon, 0);
  const low = 1 - epsilon;
  const high = 1 + epsilonHigh;
  const delta = options.delta === undefined ? Infinity : checkNumber('delta', options.delta, 0);
  const cap = options.dualClip === undefined ? (delta === Infinity ? Infinity : Math.max(delta, high)) : checkNumber('dualClip', options.dualClip, 1);
  const bounds: Bounds = { low, high, ceiling: Math.min(high, delta), cap };
  const clamp = options.logRatioClamp ?? {};
  if (level === 'token') {
    const fused = { ...bounds, limit: Math.min(clamp.max ?? Infinity, -(clamp.min ?? -Infinity)) };
    return {
      name: 'clip',
      needs: [],
      coupled: false,
      perSequence: false,
      row: (view, i, scratch) => clipTokens(view, i, scratch, bounds, clamp),
      fused: (view, i, scratch, dLogp, k3) => fusedClipRow(view, i, scratch, dLogp, fused, k3),
    };
  }
  const perSequence = level !== 'sequence-token' && options.clipCount !== 'tokens';
  return {
    name: `clip(${level})`,
    needs: [],
    coupled: level !== 'sequence-token',
    perSequence,
    row: (view, i, scratch) => clipSequence(view, i, scratch, bounds, clamp, level, countEpsilon, perSequence),
  };
}

export function clipTokens(view: TokenView, i: number, scratch: RowScratch, { low, high, ceiling, cap }: Bounds, clamp: LogRatioClamp): void {
  const { logps, mask, advantages, perToken } = view;
  const { loss, grad, old } = scratch;
  const top = Math.min(clamp.max ?? Infinity, MAX_EXPONENT);
  const bottom = Math.max(clamp.min ?? -Infinity, -1e300);
  const stops = clamp.max !== undefined;
  const start = view.offsets[i] as number;
  const end = view.offsets[i + 1] as number;
  let a = perToken ? 0 : (advantages[i] as number);
  let clippedLow = 0;
  let clippedHigh = 0;
  let capped = 0;
  let sum = 0;
  for (let k = start, t = 0; k < end; k++, t++) {
    if (!mask[k]) {
      loss[t] = 0;
      grad[t] = 0;
      continue;
    }
    let x = (logps[k] as number) - (old[k] as number);
    let stopped = false;
    if (x > top) {
      x = top;
      stopped = stops;
    } else if (x < bottom) {
      x = bottom;
      stopped = stops;
    }
    sum += x;
    if (perToken) a = advantages[k] as number;
    const r = Math.exp(x);
    let m = r;
    if (a < 0) {
      if (r < low) {
        m = low < cap ? low : cap;
        stopped = true;
        clippedLow++;
      } else if (r > cap) {
        m = cap;
        stopped = true;
        capped++;
      }
    } else if (r > ceiling) {
      m = ceiling;
      stopped = true;
      if (a > 0 && ceiling === high) clippedHigh++;
    }
    loss[t] = -m * a;
    grad[t] = stopped ? 0 : -r * a;
  }
  scratch.low = clippedLow;
  scratch.high = clippedHigh;
  scratch.capped = capped;
  scratch.logRatio = sum;
}

function clipSequence(
  view: TokenView,
  i: number,
  scratch: RowScratch,
  { low, high, ceiling, cap }: Bounds,
  clamp: LogRatioClamp,
  level: ClipOptions['level'],
  countEpsilon: number,
  perSequence: boolean,
): void {
  const { mask, advantages, perToken } = view;
  const { loss, grad, share } = scratch;
  const start = view.offsets[i] as number;
  const end = view.offsets[i + 1] as number;
  const divisor = level === 'product' ? 1 : Math.max(view.counts[i] as number, 1) + countEpsilon;
  const z = sequenceLogRatio(view, i, scratch) / divisor;
  const top = Math.min(clamp.max ?? Infinity, MAX_EXPONENT);
  const bottom = clamp.min ?? -Infinity;
  const outside = (clamp.max !== undefined && z > clamp.max) || z < bottom;
  const s = Math.exp(Math.min(Math.max(z, bottom), top));
  const coupled = level !== 'sequence-token';
  let clippedLow = 0;
  let clippedHigh = 0;
  let capped = 0;
  for (let k = start, t = 0; k < end; k++, t++) {
    loss[t] = 0;
    grad[t] = 0;
    if (coupled) share[t] = mask[k] ? 1 / divisor : 0;
    if (!mask[k]) continue;
    const a = (perToken ? advantages[k] : advantages[i]) as number;
    let m = s;
    let stopped = outside;
    if (a < 0) {
      if (s < low) {
        m = Math.min(low, cap);
        stopped = true;
        clippedLow++;
      } else if (s > cap) {
        m = cap;
        stopped = true;
        capped++;
      }
    } else if (s > ceiling) {
      m = ceiling;
      stopped = true;
      if (a > 0 && ceiling === high) clippedHigh++;
    }
    loss[t] = -m * a;
    grad[t] = stopped ? 0 : -s * a;
  }
  const unit = perSequence ? Math.max(view.counts[i] as number, 1) : 1;
  scratch.low = clippedLow / unit;
  scratch.high = clippedHigh / unit;
  scratch.capped = capped / unit;
}
