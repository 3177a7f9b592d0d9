/**
 * @file Whitening over tokens. Every token of a rollout carries its rollout's value, so sums over tokens are sums over
 * rollouts weighted by length and nothing of the size of the tokens is made.
 */

export interface TokenMoments {
  readonly mean: number;
  /** 1 / sqrt(variance + 1e-8). */
  readonly inverseSd: number;
}

/**
 * Mean and variance of `values` over tokens, as verl's masked_whiten takes them: divisor Σm + `epsilon`, variance with
 * Bessel's factor n/(n − 1).
 *
 * @param ddof 0 for OpenRLHF's population variance, cut below at 1e-8.
 */
export function tokenMoments(values: ArrayLike<number>, lengths: ArrayLike<number>, rows: ArrayLike<number>, epsilon: number, ddof: 0 | 1 = 1): TokenMoments {
  let tokens = 0;
  let sum = 0;
  let min = Infinity;
  let max = -Infinity;
  for (let k = 0; k < rows.length; k++) {
    const i = rows[k] as number;
    const length = lengths[i] as number;
    if (length === 0) continue;
    const x = values[i] as number;
    tokens += length;
    sum += length * x;
    min = Math.min(min, x);
    max = Math.max(max, x);
  }
  if (tokens <= ddof) return { mean: tokens === 0 ? 0 : min, inverseSd: 1 };
  const mean = epsilon === 0 && min === max ? min : sum / (tokens + epsilon);
  let squares = 0;
  for (let k = 0; k < rows.length; k++) {
    const i = rows[k] as number;
    if ((lengths[i] as number) > 0) squares += (lengths[i] as number) * ((values[i] as number) - mean) ** 2;
  }
  const variance = squares / (tokens + epsilon);
  if (ddof === 0) return { mean, inverseSd: 1 / Math.sqrt(Math.max(variance, 1e-8)) };
  return { mean, inverseSd: 1 / Math.sqrt(variance * (tokens / (tokens - 1)) + 1e-8) };
}

/** (x − mean) / sd. */
export function whiten(x: number, { mean, inverseSd }: TokenMoments): number {
  return (x - mean) * inverseSd;
}
