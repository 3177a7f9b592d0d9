import { checkNumber } from '../error.ts';
import type { TokenView } from '../batch/view.ts';
import type { RowScratch, Surrogate } from './surrogate.ts';
import { weightedLogLikelihood } from './tokenwise.ts';

export interface VespoOptions {
  /** At A ≥ 0. Defaults 2 and 3. */
  readonly kPositive?: number | undefined;
  readonly lambdaPositive?: number | undefined;
  /** At A < 0. Defaults 3 and 2. */
  readonly kNegative?: number | undefined;
  readonly lambdaNegative?: number | undefined;
  /** Multiply w by the sampler's correction: Σ log of these weights is added to log w. */
  readonly samplerLogWeight?: (view: TokenView, i: number) => number;
}

const LEAST_LOG_WEIGHT = Math.log(1e-8);

/**
 * VESPO (arXiv 2602.10693, TRL `vespo`): REINFORCE with a detached, smooth weight of the sequence ratio w,
 *
 *   L = −sg[φ] A logp,   log φ = λ + k log w − λ w,   log w = clamp(Σ_t clamp(Δ, ±20), log 1e−8, 20)
 */
export function vespo(options: VespoOptions = {}): Surrogate {
  const { kPositive = 2, lambdaPositive = 3, kNegative = 3, lambdaNegative = 2, samplerLogWeight } = options;
  for (const [name, value] of Object.entries({ kPositive, lambdaPositive, kNegative, lambdaNegative })) checkNumber(name, value);
  return {
    name: 'vespo',
    needs: [],
    coupled: false,
    perSequence: true,
    row(view, i, scratch) {
      const { logps, mask, advantages, perToken, offsets } = view;
      const { loss, grad } = scratch;
      const end = offsets[i + 1] as number;
      let logW = clampedLogRatio(view, i, scratch);
      scratch.logRatio = logW;
      if (samplerLogWeight !== undefined) logW += samplerLogWeight(view, i);
      logW = Math.min(Math.max(logW, LEAST_LOG_WEIGHT), 20);
      const w = Math.exp(logW);
      const phiPositive = gamma(logW, w, kPositive, lambdaPositive);
      const phiNegative = gamma(logW, w, kNegative, lambdaNegative);
      let total = 0;
      for (let k = offsets[i] as number, t = 0; k < end; k++, t++) {
        loss[t] = 0;
        grad[t] = 0;
        if (!mask[k]) continue;
        const a = (perToken ? advantages[k] : advantages[i]) as number;
        const phi = a >= 0 ? phiPositive : phiNegative;
        total += phi;
        weightedLogLikelihood(scratch, t, phi, a, logps[k] as number);
      }
      const count = view.counts[i] as number;
      scratch.extra = count > 0 ? total / count : 1;
    },
  };
}

/** φ(w) = e^λ w^k e^{−λ w}, 1 at w = 1. */
function gamma(logW: number, w: number, k: number, lambda: number): number {
  const l = Math.max(lambda, 1e-4);
  const phi = Math.exp(l + k * logW - l * w);
  return Number.isFinite(phi) ? phi : 0;
}

function clampedLogRatio(view: TokenView, i: number, { old }: RowScratch): number {
  const { logps, mask, offsets } = view;
  const end = offsets[i + 1] as number;
  let sum = 0;
  for (let k = offsets[i] as number; k < end; k++) {
    if (mask[k]) sum += Math.min(Math.max((logps[k] as number) - (old[k] as number), -20), 20);
  }
  return sum;
}
