import type { TokenView } from './batch/view.ts';
import { checkNumber } from './error.ts';
import type { Need } from './needs.ts';

/**
 * From per-token losses to one number. Every aggregation in use multiplies all tokens of a row by one factor, so an
 * aggregation is that factor; the loss is Σ_i scale_i Σ_t m L and the gradient follows.
 */
export interface Aggregation {
  readonly name: string;
  readonly needs: readonly Need[];
  rowScale(view: TokenView, i: number): number;
}

/**
 * Σ m L / N over all active tokens of the step (DAPO, arXiv 2503.14476; TRL `dapo`, verl `token-mean`).
 *
 * @param epsilon added to N (EasyR1 1e-8).
 * @param local TRL `bnpo`: N of this micro-batch, so the number changes with the split.
 */
export function tokenMean({ epsilon = 0, local = false }: { epsilon?: number; local?: boolean } = {}): Aggregation {
  return {
    name: local ? 'token-mean-local' : 'token-mean',
    needs: [],
    rowScale: (view) => 1 / (Math.max(local ? view.activeTokens : view.stepTokens, 1) + epsilon),
  };
}

/** Σ m L (verl `token-sum`). */
export function tokenSum(): Aggregation {
  return { name: 'token-sum', needs: [], rowScale: () => 1 };
}

/**
 * The mean over sequences of each one's token mean (GRPO, arXiv 2402.03300; verl `seq-mean-token-mean`) or token sum
 * (`seq-mean-token-sum`).
 *
 * @param over TRL and EasyR1 divide by `all` rows, also fully masked ones; verl and OpenRLHF by `non-empty` ones.
 * @param epsilon added to each row's token count (verl, EasyR1, OpenRLHF 1e-8).
 */
export function sequenceMean({ tokens = 'mean', over = 'all', epsilon = 0 }: { tokens?: 'mean' | 'sum'; over?: 'all' | 'non-empty'; epsilon?: number } = {}): Aggregation {
  return {
    name: `seq-mean-token-${tokens}`,
    needs: [],
    rowScale(view, i) {
      const count = view.counts[i] as number;
      if (count === 0) return 0;
      const rows = view.stepRows ?? (over === 'all' ? view.rows : view.nonEmptyRows);
      return 1 / (rows * (tokens === 'mean' ? count + epsilon : 1));
    },
  };
}

/**
 * Σ m L / (B · L_max) with a constant length (Dr. GRPO, arXiv 2503.20783; TRL `dr_grpo`, verl
 * `seq-mean-token-sum-norm`).
 *
 * @param maxCompletionLength the constant; verl without `loss_scale_factor` takes the padded width of the batch.
 */
export function constantLength({ maxCompletionLength, over = 'all' }: { maxCompletionLength?: number | undefined; over?: 'all' | 'non-empty' } = {}): Aggregation {
  if (maxCompletionLength !== undefined) checkNumber('maxCompletionLength', maxCompletionLength, 1);
  return {
    name: 'constant-length',
    needs: [],
    rowScale(view, i) {
      if (view.counts[i] === 0) return 0;
      const rows = view.stepRows ?? (over === 'all' ? view.rows : view.nonEmptyRows);
      return 1 / (rows * (maxCompletionLength ?? view.columns));
    },
  };
}
