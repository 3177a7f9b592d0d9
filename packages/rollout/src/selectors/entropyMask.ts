import { checkNumber } from '../error.ts';
import { quantile } from '../numeric/quantile.ts';
import type { TokenView } from '../batch/view.ts';
import { type Modifier, scaleToken } from '../weights/modifier.ts';

/**
 * Keeps the tokens whose entropy is among the top `topEntropyQuantile` of all active ones (arXiv 2506.01939, TRL
 * `top_entropy_quantile`): H ≥ quantile_{1 − ρ}(H), linear interpolation, threshold in float32 as TRL computes it. The
 * loss is still divided by all active tokens. The threshold is of the batch it sees.
 */
export function entropyMask(topEntropyQuantile: number): Modifier<number> {
  checkNumber('topEntropyQuantile', topEntropyQuantile, 0, 1);
  return {
    name: 'entropyMask',
    needs: ['entropy'],
    prepare: (view) => entropyThreshold(view, topEntropyQuantile),
    row(view, i, scratch, threshold) {
      const { entropy, mask, offsets } = view;
      const end = offsets[i + 1] as number;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        if (mask[k] && !((entropy?.[k] as number) >= threshold)) scaleToken(scratch, t, 0);
      }
    },
  };
}

/** The least entropy that is kept; −Infinity for an empty batch. */
export function entropyThreshold(view: TokenView, topEntropyQuantile: number): number {
  const active: number[] = [];
  for (let k = 0; k < view.tokens; k++) if (view.mask[k]) active.push(Math.fround(view.entropy?.[k] as number));
  return active.length === 0 ? -Infinity : Math.fround(quantile(active, 1 - topEntropyQuantile));
}
