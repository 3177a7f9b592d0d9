/** TRL's adaptive entropy coefficient; plain data, so it can be stored with a run. */
export interface AdaptiveEntropyState {
  readonly coefficient: number;
  /** The last step's mean entropy; the bonus acts only while it is at most the target. */
  readonly lastEntropy: number;
}

/**
 * TRL `use_adaptive_entropy`: after each step the coefficient moves by `delta`, up while the entropy is at most the
 * target and down otherwise, within [min, max].
 */
export function updateAdaptiveEntropy(
  state: AdaptiveEntropyState,
  entropy: number,
  { target = 0.2, delta = 0.005, min = 0, max = 1 }: { target?: number; delta?: number; min?: number; max?: number } = {},
): AdaptiveEntropyState {
  const moved = entropy <= target ? Math.min(state.coefficient + delta, max) : Math.max(state.coefficient - delta, min);
  return { coefficient: moved, lastEntropy: entropy };
}
