import { checkNumber } from '../error.ts';

/** The coefficient of a KL penalty that follows its target; plain data, so it can be stored with a run. */
export interface AdaptiveKlState {
  readonly coefficient: number;
}

/**
 * The adaptive KL controller (arXiv 1909.08593; verl, EasyR1 and OpenRLHF `kl_type: adaptive`):
 *
 *   β ← β (1 + clip(KL / target − 1, ±0.2) · n / horizon)
 *
 * @param nSteps rollouts of the step.
 */
export function updateAdaptiveKl(state: AdaptiveKlState, kl: number, nSteps: number, { target, horizon }: { target: number; horizon: number }): AdaptiveKlState {
  checkNumber('kl', kl);
  checkNumber('target', target, Number.MIN_VALUE);
  checkNumber('horizon', horizon, Number.MIN_VALUE);
  const error = Math.min(Math.max(kl / target - 1, -0.2), 0.2);
  return { coefficient: state.coefficient * (1 + (error * nSteps) / horizon) };
}
