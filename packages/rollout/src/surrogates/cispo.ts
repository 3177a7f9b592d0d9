import { MAX_EXPONENT } from '../numeric/saturate.ts';
import { type LogRatioClamp, sequenceLogRatio } from './logRatio.ts';
import type { Surrogate } from './surrogate.ts';
import { weightedLogLikelihood } from './tokenwise.ts';

export interface CispoOptions {
  /** Least weight. TRL 0 (none), verl and EasyR1 1 − clip_ratio_low. Default 0. */
  readonly low?: number | undefined;
  /** Largest weight, an absolute ratio. Default 5 (MiniMax-M1; TRL's default of 0.2 scales every token down). */
  readonly high?: number | undefined;
  readonly level?: 'token' | 'sequence' | undefined;
  readonly logRatioClamp?: LogRatioClamp | undefined;
  /** Count as clipped only r > high at A > 0 (TRL), or every r outside the bounds (verl, default). */
  readonly clipCount?: 'positive' | 'outside' | undefined;
}

/**
 * CISPO (MiniMax-M1, arXiv 2506.13585): REINFORCE with a detached, bounded importance weight, so that no token loses
 * its gradient,
 *
 *   L = −sg[clip(r, low, high)] A logp,     dL/dlogp = −clip(r, low, high) A
 */
export function cispoSurrogate({ low = 0, high = 5, level = 'token', logRatioClamp = {}, clipCount = 'outside' }: CispoOptions = {}): Surrogate {
  const top = Math.min(logRatioClamp.max ?? Infinity, MAX_EXPONENT);
  const bottom = logRatioClamp.min ?? -Infinity;
  return {
    name: 'cispo',
    needs: [],
    coupled: false,
    perSequence: level === 'sequence',
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad, old } = scratch;
      const z = level === 'sequence' ? sequenceLogRatio(view, i, scratch) / Math.max(view.counts[i] as number, 1) : 0;
      const end = offsets[i + 1] as number;
      let clipped = 0;
      let sum = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        if (!mask[k]) continue;
        const x = Math.min(Math.max(level === 'sequence' ? z : (logps[k] as number) - (old[k] as number), bottom), top);
        sum += Math.max(x, -1e300);
        const r = Math.exp(x);
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        const weight = Math.min(Math.max(r, low), high);
        if (clipCount === 'positive' ? r > high && a > 0 : weight !== r) clipped++;
        weightedLogLikelihood(scratch, t, weight, a, logps[k] as number);
      }
      scratch.high = level === 'sequence' ? clipped / Math.max(view.counts[i] as number, 1) : clipped;
      scratch.logRatio = sum;
    },
  };
}
