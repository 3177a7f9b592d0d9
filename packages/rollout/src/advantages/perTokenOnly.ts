import { RolloutError } from '../error.ts';
import type { AdvantagePart } from './part.ts';

/** Stands where an estimator gives a different number to each token, which one advantage a rollout cannot express. */
export function perTokenOnly(name: string, call: string, options = ''): AdvantagePart {
  return {
    name,
    needs: [],
    apply() {
      throw new RolloutError('not-supported', 'advantages', name, 'differs from token to token', `Call ${call}(input${options === '' ? '' : `, ${options}`}) and pass its result as advantages to loss().`);
    },
  };
}
