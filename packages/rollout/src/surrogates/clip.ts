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

/**
 * Floor and cap at A < 0, ceiling at A > 0: the only three numbers the clipped surrogate depends on. `high` is the bound
 * whose crossings are counted, the ceiling or none. The floor is never above the cap.
 */
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
  const cap = Math.min(Math.max(delta, high), options.dualClip === undefined ? Infinity : checkNumber('dualClip', options.dualClip, 1));
  // TRL counts what is above the bound after its delta has acted: with delta at the bound or below, nothing is.
  const bounds: Bounds = { low, high: delta > high ? high : Infinity, ceiling: Math.min(high, delta), cap };
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

/** The log-ratio's limits: the library's, where it has them, else those of doubles; only the first stop the gradient. */
function limitsOf({ min = -1e300, max = MAX_EXPONENT }: LogRatioClamp): { top: number; bottom: number; stops: boolean } {
  return { top: Math.min(max, MAX_EXPONENT), bottom: min, stops: max < MAX_EXPONENT || min > -1e300 };
}

export function clipTokens(view: TokenView, i: number, scratch: RowScratch, { low, high, ceiling, cap }: Bounds, clamp: LogRatioClamp): void {
  const { logps, mask, advantages, perToken } = view;
  const { loss, grad, old } = scratch;
  const { top, bottom, stops } = limitsOf(clamp);
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
    const raw = (logps[k] as number) - (old[k] as number);
    const x = Math.min(Math.max(raw, bottom), top);
    let stopped = stops && x !== raw;
    sum += x;
    if (perToken) a = advantages[k] as number;
    const r = Math.exp(x);
    let m = r;
    if (a < 0) {
      if (r < low) {
        m = low;
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
  const { top, bottom, stops } = limitsOf(clamp);
  const x = Math.min(Math.max(z, bottom), top);
  const outside = stops && x !== z;
  const s = Math.exp(x);
  let clippedLow = 0;
  let clippedHigh = 0;
  let capped = 0;
  for (let k = start, t = 0; k < end; k++, t++) {
    loss[t] = 0;
    grad[t] = 0;
    share[t] = 0;
    if (!mask[k]) continue;
    share[t] = 1 / divisor;
    const a = (perToken ? advantages[k] : advantages[i]) as number;
    let m = s;
    let stopped = outside;
    if (a < 0) {
      if (s < low) {
        m = low;
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
