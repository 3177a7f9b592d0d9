import { checkNumber } from '../error.ts';
import type { TokenView } from '../batch/view.ts';
import { entropyThreshold } from '../selectors/entropyMask.ts';
import type { Aggregation } from '../aggregation.ts';

/** −c · H: a true entropy bonus. Its gradient is with respect to the entropies, which log-probabilities cannot give. */
export interface EntropyBonus {
  readonly coefficient: number;
  apply(view: TokenView): { loss: number; dEntropy: Float64Array };
}

/**
 * TRL's `entropy_coef`: the mean entropy over the tokens that the entropy mask keeps (all, without one). verl's
 * `entropy_coeff` aggregates it as it aggregates the loss.
 */
export function entropyBonus(coefficient: number, options: { topEntropyQuantile?: number | undefined; aggregation?: Aggregation | undefined } = {}): EntropyBonus {
  checkNumber('entropyCoef', coefficient);
  const { topEntropyQuantile = 1, aggregation } = options;
  return {
    coefficient,
    apply(view) {
      const { mask, offsets } = view;
      const entropy = view.entropy as ArrayLike<number>;
      const threshold = topEntropyQuantile < 1 ? entropyThreshold(view, topEntropyQuantile) : -Infinity;
      const dEntropy = new Float64Array(view.tokens);
      let kept = 0;
      for (let k = 0; k < view.tokens; k++) if (mask[k] && (entropy[k] as number) >= threshold) kept++;
      let loss = 0;
      for (let i = 0; i < view.rows; i++) {
        const share = -coefficient * (aggregation === undefined ? 1 / Math.max(kept, 1) : aggregation.rowScale(view, i));
        for (let k = offsets[i] as number; k < (offsets[i + 1] as number); k++) {
          if (!mask[k] || !((entropy[k] as number) >= threshold)) continue;
          loss += share * (entropy[k] as number);
          dEntropy[k] = share;
        }
      }
      return { loss, dEntropy };
    },
  };
}
