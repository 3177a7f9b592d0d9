import { checkNumber } from './error.ts';
import { effectiveSampleSize } from './poro/gap.ts';

/**
 * VCPO's learning-rate scale (arXiv 2602.17616): stale rollouts carry less information, and the step shrinks with their
 * effective sample size ρ = (Σw)² / (B Σw²), w = exp(Σ_t (old − behaviour)),
 *
 *   min(1, ρ / base)^{1/2}     or, `linear`, min(1, ρ / base)
 *
 * @param logWeights Σ_t (old − behaviour) of each rollout.
 */
export function essLearningRateScale(logWeights: ArrayLike<number>, { base = 1, scaling = 'sqrt' }: { base?: number; scaling?: 'sqrt' | 'linear' } = {}): number {
  checkNumber('base', base, 1e-9, 1);
  for (let i = 0; i < logWeights.length; i++) checkNumber(`logWeights[${i}]`, logWeights[i]);
  if (logWeights.length === 0) return 1;
  const share = Math.min(1, effectiveSampleSize(logWeights) / base);
  return scaling === 'sqrt' ? Math.sqrt(share) : share;
}
