import type { AdvantagePart } from './part.ts';

/** Bounds of a reward or of what a baseline made of it. */
export type ClipRange = readonly [min: number, max: number];

/** x moved into the range; a missing reward (NaN) stays missing. */
export function intoRange(x: number, [min, max]: ClipRange): number {
  return Math.min(Math.max(x, min), max);
}

/** A part over rewards moved into a range, after their weights and before the baseline (TRL's RLOO). */
export function clipRewards(part: AdvantagePart, range: ClipRange | undefined): AdvantagePart {
  if (range === undefined) return part;
  return { ...part, apply: (context, out) => part.apply({ ...context, rewards: context.rewards.map((r) => intoRange(r, range)) }, out) };
}

/** A part whose advantages are moved into a range (OpenRLHF clips after the baseline). */
export function clipAdvantages(part: AdvantagePart, range: ClipRange | undefined): AdvantagePart {
  if (range === undefined) return part;
  return {
    ...part,
    apply(context, out) {
      part.apply(context, out);
      for (let i = 0; i < out.length; i++) out[i] = intoRange(out[i] as number, range);
    },
  };
}
