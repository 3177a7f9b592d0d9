import { checkNumber } from '../error.ts';

export interface OverlongOptions {
  /** Longest answer allowed, in tokens. */
  readonly maxLength: number;
  /** The last tokens before it, over which the penalty grows. */
  readonly cache: number;
  /** Penalty at and beyond maxLength. Default 1. */
  readonly factor?: number | undefined;
  /** verl lets the penalty grow beyond maxLength (length 140 of 100 gives −3); others stop at −factor. Default false. */
  readonly unbounded?: boolean | undefined;
}

/**
 * DAPO's soft overlong penalty (arXiv 2503.14476; TRL `get_soft_overlong_punishment`):
 *
 *   0 up to maxLength − cache, then (maxLength − cache − L) / cache, −1 beyond maxLength; times the factor
 */
export function overlongPenalty(length: number, { maxLength, cache, factor = 1, unbounded = false }: OverlongOptions): number {
  checkNumber('length', length, 0);
  checkNumber('maxLength', maxLength, 1);
  checkNumber('cache', cache, 0, maxLength);
  checkNumber('factor', factor, 0);
  const over = length - (maxLength - cache);
  if (over <= 0) return 0;
  if (!unbounded && over >= cache) return -factor;
  return (-over / Math.max(cache, 1)) * factor;
}
