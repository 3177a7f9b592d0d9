import { RolloutError, checkNumber } from '../error.ts';
import { saturate } from '../numeric/saturate.ts';
import type { TokenView } from '../batch/view.ts';
import type { SequenceRegulariser } from './sequenceRegulariser.ts';

export interface LldsOptions {
  /** Default 0.2 (the paper; 0.01 only delays the collapse it is against). */
  readonly lambda?: number | undefined;
  /** The unit whose total likelihood must have fallen: each `turn`, or the whole `response` (default). */
  readonly gate?: 'turn' | 'response' | undefined;
  /**
   * LLDS-MA: one weight a position, such as β on the tokens of the final answer and 1 elsewhere. A function of the row, as
   * spans are known only with the batch: (row, position within it) → weight. Default 1.
   */
  readonly tokenWeight?: ((row: number, position: number) => number) | undefined;
}

/**
 * LLDS, the likelihood-preserving regulariser (arXiv 2512.04220): rollouts that were not bad must not become less
 * likely. With Δ = old − logp, over rollouts with A ≥ 0,
 *
 *   λ / |Y| Σ_i 1/|y_i| Σ_units 1[Σ_unit Δ > 0] Σ_t w_t max(0, Δ_t),     d/dlogp = −λ w_t / (|Y| |y_i|) where it acts
 *
 * It is 0 on the first, on-policy, step. |Y| is of the batch it sees.
 */
export function llds({ lambda = 0.2, gate = 'response', tokenWeight }: LldsOptions = {}): SequenceRegulariser {
  checkNumber('lambda', lambda, 0);
  return {
    name: 'llds',
    needs: gate === 'turn' ? ['turns'] : [],
    add(view, dLogp) {
      const preserved: number[] = [];
      for (let i = 0; i < view.rows; i++) if ((view.counts[i] as number) > 0 && advantageOf(view, i) >= 0) preserved.push(i);
      let loss = 0;
      for (const i of preserved) {
        const start = view.offsets[i] as number;
        const width = (view.offsets[i + 1] as number) - start;
        const weight = lambda / (preserved.length * (view.counts[i] as number));
        for (const [from, to] of gate === 'turn' ? turnsOf(view, i, width) : [[0, width] as const]) {
          loss = saturate(loss + unit(view, start + from, start + to, weight, dLogp, tokenWeight === undefined ? undefined : (k) => checkNumber('tokenWeight()', tokenWeight(i, k - start), 0)));
        }
      }
      return loss;
    },
  };
}

function unit({ logps, oldLogps, mask }: TokenView, from: number, to: number, weight: number, dLogp: Float64Array, of: ((k: number) => number) | undefined): number {
  let total = 0;
  for (let k = from; k < to; k++) if (mask[k]) total = saturate(total + ((oldLogps[k] as number) - (logps[k] as number)));
  if (total <= 0) return 0;
  let loss = 0;
  for (let k = from; k < to; k++) {
    const fall = mask[k] ? saturate((oldLogps[k] as number) - (logps[k] as number)) : 0;
    if (fall <= 0) continue;
    const own = of === undefined ? weight : weight * of(k);
    loss += own * fall;
    dLogp[k] = (dLogp[k] as number) - own;
  }
  return loss;
}

function advantageOf(view: TokenView, i: number): number {
  if (!view.perToken) return view.advantages[i] as number;
  for (let k = view.offsets[i] as number; k < (view.offsets[i + 1] as number); k++) if (view.mask[k]) return view.advantages[k] as number;
  return -1;
}

function turnsOf(view: TokenView, i: number, width: number): readonly (readonly [number, number])[] {
  const turns = view.turns?.[i];
  if (turns === undefined) throw new RolloutError('length-mismatch', `turns[${i}]`, turns, 'is missing', 'Pass the spans of each row (an empty list for none).');
  for (const [from, to] of turns) {
    if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > width) {
      throw new RolloutError('invalid-argument', `turns[${i}]`, [from, to], `is not a span of a row of ${width}`, 'Pass [start, end) positions inside the row.');
    }
  }
  return turns;
}
