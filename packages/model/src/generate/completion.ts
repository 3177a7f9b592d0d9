/** @file What is sampled: a completion, and where its text ends. */

export interface Completion {
  readonly prompt: number;
  readonly tokens: Int32Array;
  /** Log-probability of each token under the full distribution at the sampling temperature (after a repetition penalty). */
  readonly logps: Float32Array;
  /** Entropy of the distribution each token was drawn from, nats. */
  readonly entropies: Float32Array;
  /** `stop`: ended with a stop token or string; `length`: reached maxNewTokens (or was interrupted). */
  readonly finish: 'stop' | 'length';
}

/** Ends a completion with the token that completes one of these strings in its text. */
export interface StopStrings {
  readonly strings: readonly string[];
  readonly decode: (tokens: Int32Array) => string;
}

/**
 * The completion that `all` sampled tokens make, cut where a stop string is complete.
 * @param trace log-probability and entropy of each token.
 */
export function completionOf(prompt: number, all: Int32Array, trace: ArrayLike<number>, stopIds: readonly number[], stop: StopStrings | undefined): Completion {
  const end = stop === undefined ? undefined : stopAt(all, stop);
  const tokens = end === undefined ? all : all.slice(0, end);
  const of = (part: number) => Float32Array.from(tokens, (_, i) => trace[2 * i + part]!);
  return { prompt, tokens, logps: of(0), entropies: of(1), finish: end !== undefined || (tokens.length > 0 && stopIds.includes(tokens[tokens.length - 1]!)) ? 'stop' : 'length' };
}

/** The fewest tokens whose text holds one of the strings. */
function stopAt(tokens: Int32Array, { strings, decode }: StopStrings): number | undefined {
  const holds = (n: number) => {
    const text = decode(tokens.subarray(0, n));
    return strings.some((s) => text.includes(s));
  };
  if (!holds(tokens.length)) return undefined;
  let n = tokens.length;
  while (n > 1 && holds(n - 1)) n--;
  return n;
}
