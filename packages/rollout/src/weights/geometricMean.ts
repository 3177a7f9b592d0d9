import type { TokenView } from '../batch/view.ts';
import { type ImportanceOptions, importanceWeights, meanWeight, rowWeight, tokenWeight } from './importance.ts';
import { type Modifier, scaleToken } from './modifier.ts';

/**
 * One weight a sequence, the geometric mean of what `importanceWeights` gives its tokens, bounds and normalisation
 * included (verl `geo_mean`, which adds 1e-10 to a weight and 1e-8 to a count):
 *
 *   w = exp( Σ_t log(w_t + 1e-10) / (T + 1e-8) )
 *
 * The weights and their mean are of the batch before rejection, t runs over what is left of the row.
 */
export function geometricMeanWeights(options: ImportanceOptions = {}): Modifier<number> {
  return {
    name: 'geometricMeanWeights',
    needs: importanceWeights(options).needs,
    ...(options.batchNormalize === true ? { prepare: (_view: TokenView, _metrics: Record<string, number>, before: TokenView) => meanWeight(before, options) } : {}),
    row(view, i, scratch, divisor = 1, before) {
      if (options.only === 'policy' && view.origin?.[i] !== 1) return;
      const { mask } = view;
      const start = view.offsets[i] as number;
      const end = view.offsets[i + 1] as number;
      const row = rowWeight(before, i, options);
      let sum = 0;
      for (let k = start; k < end; k++) if (mask[k]) sum += Math.log(tokenWeight(before, k, row, options) / divisor + 1e-10);
      const weight = Math.exp(sum / ((view.counts[i] as number) + 1e-8));
      for (let k = start, t = 0; k < end; k++, t++) if (mask[k]) scaleToken(scratch, t, weight);
    },
  };
}
