import { centre, moments } from '../numeric/moments.ts';
import { toFinite } from '../numeric/saturate.ts';
import { type ClipRange, intoRange } from './clipRange.ts';
import type { AdvantagePart } from './part.ts';
import { everyRow } from './rows.ts';
import { tokenMoments, whiten } from './whiten.ts';

export interface ReinforcePlusPlusAdvantageOptions {
  /** Subtract the group's mean first (REINFORCE++-baseline). Default false. */
  readonly baseline?: boolean | undefined;
  /** Added to the token count: 0 (default, so that equal rewards give exactly 0) or verl's and EasyR1's 1e-8. */
  readonly countEpsilon?: number | undefined;
  /** 1 (verl, EasyR1, default) or 0 (OpenRLHF). */
  readonly ddof?: 0 | 1 | undefined;
  /** A group with a single reward under `baseline`: `zero` (default) or `raw` (verl). */
  readonly singleton?: 'zero' | 'raw' | undefined;
  /** Divide by the deviation of the batch's tokens, or only subtract their mean (OpenRLHF `no_advantage_std_norm`). Default `batch`. */
  readonly scale?: 'batch' | 'none' | undefined;
  /** Bounds of what is whitened, after `baseline` (OpenRLHF `reward_clip_range`). Default none. */
  readonly clipRange?: ClipRange | undefined;
}

/**
 * REINFORCE++ (arXiv 2501.03262) without discount: the reward reaches every token of its rollout and is whitened over
 * all tokens of the batch. With a discount the value differs from token to token: see `reinforcePlusPlusTokens`.
 */
export function reinforcePlusPlusAdvantage({
  baseline = false,
  countEpsilon = 0,
  ddof = 1,
  singleton = 'zero',
  scale: divisor = 'batch',
  clipRange,
}: ReinforcePlusPlusAdvantageOptions = {}): AdvantagePart {
  return {
    name: baseline ? 'reinforcePlusPlusBaseline' : 'reinforcePlusPlus',
    needs: ['lengths'],
    apply({ rewards, groups, lengths }, out) {
      for (const rows of groups) {
        const m = baseline ? moments(rewards, rows) : undefined;
        for (const i of rows) {
          const r = rewards[i] as number;
          if (m === undefined) out[i] = r;
          else out[i] = m.count === 1 ? (singleton === 'raw' ? r : 0) : centre(r, m);
          if (clipRange !== undefined) out[i] = intoRange(out[i] as number, clipRange);
        }
      }
      const scored = everyRow(rewards.length).filter((i) => !Number.isNaN(rewards[i] as number));
      const scale = largestScale(out, scored);
      for (const i of scored) out[i] = (out[i] as number) * scale;
      const m = tokenMoments(out, lengths as Float64Array, scored, countEpsilon, ddof);
      for (let i = 0; i < out.length; i++) {
        const x = out[i] as number;
        if (Number.isNaN(rewards[i] as number) || lengths?.[i] === 0) out[i] = 0;
        else out[i] = divisor === 'batch' ? whiten(x, m) : toFinite((x - m.mean) / scale);
      }
    },
  };
}

/** A power of two that keeps squares of the values inside the range of doubles. */
function largestScale(values: Float64Array, rows: Int32Array): number {
  let largest = 0;
  for (const i of rows) largest = Math.max(largest, Math.abs(values[i] as number));
  return largest > 2 ** 480 ? 2 ** -560 : 1;
}
