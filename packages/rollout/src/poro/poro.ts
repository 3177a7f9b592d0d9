import { type AdvantageContext, members } from '../advantages/input.ts';
import { RolloutError, checkChoice, checkNumber } from '../error.ts';
import type { Need } from '../needs.ts';
import { type Objective, objective } from '../objective.ts';
import { type ImportanceOptions, importanceWeights } from '../weights/importance.ts';
import { checkOptions } from '../presets/options.ts';
import { policyGap } from './gap.ts';
import { shapedRatio } from './shaped.ts';

export interface PolicyRolloutOptions {
  /**
   * The denominator of the ratio of policy-aware rows:
   * `self` (the paper): the old log-probabilities, scored like the numerator under the policy-free prompt;
   * `behavior`: the sampler's, with the policy in context (Guide-GRPO, arXiv 2506.13923);
   * `detached`: the ratio is 1 everywhere, plain REINFORCE on the pooled advantages;
   * `shaped`: LUFFY's p / (p + γ) on policy-aware rows.
   */
  readonly ratioReference?: 'self' | 'behavior' | 'detached' | 'shaped' | undefined;
  /** Mean and deviation over the `union` of both halves (the paper), each half's own, or the policy-free half's. */
  readonly baseline?: 'union' | 'separate' | 'free-only' | undefined;
  /** Importance weights old / behaviour on policy-aware rows, detached. Off by default. */
  readonly offPolicyWeight?: Pick<ImportanceOptions, 'level' | 'mode' | 'min' | 'max'> | undefined;
  /** γ of `shaped`; null leaves p unshaped. Default 0.1. */
  readonly shapingGamma?: number | null | undefined;
  /** Give policy-aware rows with a negative advantage 0 instead. Default false. */
  readonly dropNegativePolicyRows?: boolean | undefined;
}

/**
 * PolicyRollout (TriMPI, arXiv 2510.09474): any objective, over groups that hold rollouts sampled with the policy in
 * the prompt beside those sampled without it. Both are scored and trained under the policy-free prompt, and both share
 * one baseline; a group in which the model alone never succeeds so gets a signal from its policy-aware twins.
 */
export function poro(base: Objective, options: PolicyRolloutOptions = {}): Objective {
  if (typeof base?.loss !== 'function') throw new RolloutError('invalid-argument', 'objective', base, 'is not an objective', 'Pass one, such as grpo().');
  checkOptions('poro', options, ['ratioReference', 'baseline', 'offPolicyWeight', 'shapingGamma', 'dropNegativePolicyRows']);
  const baseline = checkChoice('baseline', options.baseline ?? 'union', ['union', 'separate', 'free-only'] as const);
  const ratioReference = checkChoice('ratioReference', options.ratioReference ?? 'self', ['self', 'behavior', 'detached', 'shaped'] as const);
  const gamma = options.shapingGamma === undefined ? 0.1 : options.shapingGamma;
  if (gamma !== null) checkNumber('shapingGamma', gamma, 1e-12);
  const { parts } = base;
  if (baseline === 'free-only' && parts.advantage.name !== 'groupNorm') {
    throw new RolloutError('not-supported', 'baseline', baseline, `is not defined for ${parts.advantage.name}`, "Use an objective with groupNorm, or baseline 'union' or 'separate'.");
  }
  if (ratioReference === 'self' && parts.denominator !== undefined) {
    throw new RolloutError('not-supported', 'ratioReference', ratioReference, `does not go with ${parts.name}, which divides by the sampler's probabilities and not by the old ones`, "Leave out what makes it so (verl's bypass_mode, OpenRLHF's enable_vllm_is_correction with gspo), or ask for ratioReference 'behavior'.");
  }
  const needs: Need[] = ratioReference === 'behavior' ? ['behaviorLogps', 'origin'] : ratioReference === 'shaped' ? [...(parts.denominatorNeeds ?? []), 'origin'] : [];
  return objective({
    ...parts,
    name: `poro(${parts.name})`,
    sampling: { numGenerations: parts.sampling?.numGenerations ?? 8, ...parts.sampling, twins: true },
    policySurrogate: ratioReference === 'shaped' ? shapedRatio(gamma) : parts.policySurrogate,
    denominator:
      ratioReference === 'behavior'
        ? (view, i) => (view.origin?.[i] === 1 ? (view.behaviorLogps as ArrayLike<number>) : (parts.denominator?.(view, i) ?? view.oldLogps))
        : ratioReference === 'detached'
          ? (view) => view.logps
          : parts.denominator,
    denominatorNeeds: needs,
    modifiers: options.offPolicyWeight === undefined ? parts.modifiers : [...(parts.modifiers ?? []), importanceWeights({ ...options.offPolicyWeight, only: 'policy' })],
    diagnostics: [...(parts.diagnostics ?? []), policyGap],
    poro: {
      baseline,
      ratioReference,
      regroup: (context) => (baseline === 'union' ? context : baseline === 'separate' ? separate(context) : freeOnly(context)),
      adjust(context, out) {
        if (options.dropNegativePolicyRows !== true) return;
        const origin = requireOrigin(context, 'dropNegativePolicyRows');
        for (let i = 0; i < out.length; i++) if (origin[i] === 1 && (out[i] as number) < 0) out[i] = 0;
      },
    },
  });
}

function requireOrigin(context: AdvantageContext, what: string): Uint8Array {
  if (context.origin !== undefined) return context.origin;
  throw new RolloutError('missing-need', 'origin', undefined, `${what} tells policy-free from policy-aware rollouts`, "Pass origin, 'free' or 'policy' for each rollout.");
}

/** Each half of a group becomes a group. */
function separate(context: AdvantageContext): AdvantageContext {
  const origin = requireOrigin(context, "baseline 'separate'");
  const index = new Map<number, number>();
  const sizes: number[] = [];
  const groupOf = Int32Array.from(context.groupOf, (g, i) => {
    const key = 2 * g + (origin[i] as number);
    const at = index.get(key) ?? sizes.length;
    index.set(key, at);
    sizes[at] = (sizes[at] ?? 0) + 1;
    return at;
  });
  const groups = members(groupOf, sizes);
  return { ...context, groups, groupOf, baselineRows: groups };
}

/** The groups stay; mean and deviation come from their policy-free rows. */
function freeOnly(context: AdvantageContext): AdvantageContext {
  const origin = requireOrigin(context, "baseline 'free-only'");
  const baselineRows = context.groups.map((rows) => {
    const free = rows.filter((i) => origin[i] === 0);
    if (free.length === 0) {
      throw new RolloutError('invalid-argument', 'origin', 'policy', "a group holds no policy-free rollout, so baseline 'free-only' has nothing to compare with", "Sample policy-free rollouts for every prompt, or use baseline 'union'.");
    }
    return free.length === rows.length ? rows : free;
  });
  return { ...context, baselineRows };
}
