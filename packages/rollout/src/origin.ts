import { RolloutError } from './error.ts';

/** How a rollout was sampled: without the policy in its prompt (`free`), or with it (`policy`). */
export type Origin = 'free' | 'policy';

/**
 * What is accepted for one row: the canonical names, the words other code uses for them, and the 0/1 column
 * `is_policy`.
 */
export type OriginLike = Origin | 'policy-free' | 'normal' | 'policy-aware' | 'policyAware' | 0 | 1 | boolean;

/** 1 for a policy-aware row, 0 for a policy-free one. */
export function parseOrigins(origin: ArrayLike<OriginLike>, count: number, argument = 'origin'): Uint8Array {
  if (origin.length !== count) {
    throw new RolloutError('length-mismatch', argument, origin.length, `must have one entry a rollout (${count})`, 'Pass one origin for each row.');
  }
  const flags = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    switch (origin[i]) {
      case 'free':
      case 'policy-free':
      case 'normal':
      case 0:
      case false:
        break;
      case 'policy':
      case 'policy-aware':
      case 'policyAware':
      case 1:
      case true:
        flags[i] = 1;
        break;
      default:
        throw new RolloutError('invalid-argument', `${argument}[${i}]`, origin[i], 'is not an origin', "Use 'free' or 'policy'.");
    }
  }
  return flags;
}
