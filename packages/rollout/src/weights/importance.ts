import { RolloutError, checkNumber } from '../error.ts';
import type { TokenView } from '../batch/view.ts';
import { MAX_EXPONENT } from '../numeric/saturate.ts';
import { type Modifier, scaleToken } from './modifier.ts';

export interface ImportanceOptions {
  /** One weight a token, or one a sequence: the product. Default `token`. */
  readonly level?: 'token' | 'sequence' | undefined;
  /** Outside [min, max]: move to the bound (`truncate`, TIS) or drop (`mask`, IcePop). Default `truncate`. */
  readonly mode?: 'truncate' | 'mask' | undefined;
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  /** The numerator: the old log-probabilities (decoupled, default) or the current ones (verl's bypass mode). */
  readonly numerator?: 'old' | 'current' | undefined;
  /** Bound of the log-weight before exp (verl 20). Default none. */
  readonly logClamp?: number | undefined;
  /** Divide by the batch's mean weight (verl `rollout_is_batch_normalize`). */
  readonly batchNormalize?: boolean | undefined;
  /** Added to the token counts of that mean (verl 1e-8). Default 0, so that the mean becomes exactly 1. */
  readonly countEpsilon?: number | undefined;
  /** OpenRLHF `seq-mask-tis`: token weights, dropped for a sequence whose geometric mean is outside the bounds. */
  readonly sequenceFilter?: boolean | undefined;
  /** Only rows of this origin are weighted; all when absent. */
  readonly only?: 'policy' | undefined;
}

/**
 * Importance weights for a sampler that differs from the trainer (fengyao.notion.site/off-policy-rl; IcePop; TRL
 * `vllm_importance_sampling_mode`; verl `rollout_correction`):
 *
 *   w = exp(old − behaviour) a token, or exp(Σ_t (old − behaviour)) a sequence; detached.
 */
export function importanceWeights(options: ImportanceOptions = {}): Modifier<number> {
  const { min = 0, max = Infinity, batchNormalize = false, only } = options;
  checkNumber('min', min, 0);
  if (max !== Infinity) checkNumber('max', max, 0);
  if (min > max) {
    throw new RolloutError('invalid-argument', 'min', min, `must not be above max ${max}`, 'Swap the two bounds.');
  }
  return {
    name: 'importanceWeights',
    needs: only === undefined ? ['behaviorLogps'] : ['behaviorLogps', 'origin'],
    ...(batchNormalize ? { prepare: (view) => meanWeight(view, options) } : {}),
    row(view, i, scratch, divisor = 1) {
      if (only === 'policy' && view.origin?.[i] !== 1) return;
      const { mask, offsets } = view;
      const start = offsets[i] as number;
      const end = offsets[i + 1] as number;
      const row = rowWeight(view, i, options);
      for (let k = start, t = 0; k < end; k++, t++) {
        if (mask[k]) scaleToken(scratch, t, tokenWeight(view, k, row, options) / divisor);
      }
    },
  };
}

/** What one row's weights share: the sequence weight, or whether the row passes the sequence filter (1 or 0). */
export function rowWeight(view: TokenView, i: number, options: ImportanceOptions): number {
  if (options.level !== 'sequence' && options.sequenceFilter !== true) return 1;
  const { mask, offsets } = view;
  const end = offsets[i + 1] as number;
  let sum = 0;
  for (let k = offsets[i] as number; k < end; k++) if (mask[k]) sum += logWeight(view, k, options);
  if (options.sequenceFilter === true) {
    const mean = Math.exp(Math.min(sum / Math.max(view.counts[i] as number, 1), MAX_EXPONENT));
    return mean < (options.min ?? 0) || mean > (options.max ?? Infinity) ? 0 : 1;
  }
  return bound(exponential(sum, options), options);
}

/** The weight of position k, given what its row shares. */
export function tokenWeight(view: TokenView, k: number, row: number, options: ImportanceOptions): number {
  if (options.level === 'sequence') return row;
  const w = exponential(logWeight(view, k, options), options);
  return options.sequenceFilter === true ? w * row : bound(w, options);
}

/** The weight before it is bounded. */
export function rawWeight(view: TokenView, k: number, options: ImportanceOptions): number {
  return exponential(logWeight(view, k, options), options);
}

function logWeight(view: TokenView, k: number, { numerator = 'old' }: ImportanceOptions): number {
  const top = numerator === 'old' ? view.oldLogps : view.logps;
  return (top[k] as number) - (view.behaviorLogps?.[k] as number);
}

function exponential(x: number, { logClamp }: ImportanceOptions): number {
  return Math.exp(logClamp === undefined ? Math.min(x, MAX_EXPONENT) : Math.min(Math.max(x, -logClamp), logClamp));
}

function bound(w: number, { mode = 'truncate', min = 0, max = Infinity }: ImportanceOptions): number {
  if (mode === 'mask') return w < min || w > max ? 0 : w;
  return Math.min(Math.max(w, min), max);
}

/** What `batchNormalize` divides by: the mean weight of tokens, or of sequences that have one; 1 where it is almost 0. */
export function meanWeight(view: TokenView, options: ImportanceOptions): number {
  const { countEpsilon = 0 } = options;
  let sum = 0;
  let count = 0;
  for (let i = 0; i < view.rows; i++) {
    if (view.counts[i] === 0) continue;
    const row = rowWeight(view, i, options);
    if (options.level === 'sequence') {
      const tokens = view.counts[i] as number;
      sum += row * (tokens / (tokens + countEpsilon));
      count++;
      continue;
    }
    for (let k = view.offsets[i] as number; k < (view.offsets[i + 1] as number); k++) {
      if (!view.mask[k]) continue;
      sum += tokenWeight(view, k, row, options);
      count++;
    }
  }
  const mean = sum / (options.level === 'sequence' ? count : count + countEpsilon);
  return mean > 1e-8 && Number.isFinite(mean) ? mean : 1;
}
