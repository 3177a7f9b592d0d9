import { RolloutError, checkNumber } from '../error.ts';
import type { TokenView } from '../batch/view.ts';
import { safeExp, saturate } from '../numeric/saturate.ts';
import { type Bounds, clipTokens } from './clip.ts';
import { CLAMP_20 } from './logRatio.ts';
import type { Surrogate } from './surrogate.ts';

export interface BapoOptions {
  /** Least ratio of positive to negative contribution. Default 1. */
  readonly target?: number | undefined;
  /** Range of the lower bound (of the ratio itself). Default [0.6, 0.8]. */
  readonly low?: readonly [from: number, to: number] | undefined;
  /** Range of the upper bound. Default [1.2, 2]. */
  readonly high?: readonly [from: number, to: number] | undefined;
  /** Default 0.05. */
  readonly step?: number | undefined;
  /** Default 3. */
  readonly dualClip?: number | undefined;
}

/**
 * BAPO, balanced policy optimisation with adaptive clipping (arXiv 2510.18927; bounds as in its released YAML): before
 * the update the bounds are widened until positive advantages weigh enough,
 *
 *   while Σ_{A≥0} min(r, c_high) A < target · Σ_{A<0} max(r, c_low) |A|:   raise c_low to its end, then c_high
 *
 * then dual-clip PPO with clip(r, c_low, c_high). The bounds are of the batch it sees.
 */
export function bapo(options: BapoOptions = {}): Surrogate<Bounds> {
  const { target = 1, low = [0.6, 0.8], high = [1.2, 2], step = 0.05, dualClip = 3 } = options;
  checkNumber('target', target, 0);
  checkNumber('step', step, 1e-6);
  checkNumber('dualClip', dualClip, 1);
  if (!(low[0] <= low[1]) || !(high[0] <= high[1])) throw new RolloutError('invalid-argument', 'low, high', [low, high], 'must be ranges', 'Pass [from, to] with from ≤ to.');
  return {
    name: 'clip(bapo)',
    needs: [],
    coupled: false,
    perSequence: false,
    prepare(view) {
      const bounds = balancedBounds(view, { target, low, high, step });
      return { low: bounds.low, high: bounds.high, ceiling: bounds.high, cap: dualClip };
    },
    row: (view, i, scratch, bounds) => clipTokens(view, i, scratch, bounds, CLAMP_20),
  };
}

/** The bounds BAPO's search ends with. */
export function balancedBounds(view: TokenView, { target, low, high, step }: { target: number; low: readonly [number, number]; high: readonly [number, number]; step: number }): { low: number; high: number } {
  let l = low[0];
  let h = high[0];
  while (!isBalanced(view, l, h, target)) {
    if (l < low[1]) l = Math.min(l + step, low[1]);
    else if (h < high[1]) h = Math.min(h + step, high[1]);
    else break;
  }
  return { low: l, high: h };
}

function isBalanced(view: TokenView, low: number, high: number, target: number): boolean {
  const { logps, oldLogps, mask, advantages, perToken, offsets } = view;
  let positive = 0;
  let negative = 0;
  for (let i = 0; i < view.rows; i++) {
    for (let k = offsets[i] as number; k < (offsets[i + 1] as number); k++) {
      if (!mask[k]) continue;
      const r = safeExp((logps[k] as number) - (oldLogps[k] as number));
      const a = (perToken ? advantages[k] : advantages[i]) as number;
      if (a >= 0) positive = saturate(positive + saturate(Math.min(r, high) * a));
      else negative = saturate(negative + saturate(Math.max(r, low) * -a));
    }
  }
  return positive >= target * negative;
}
