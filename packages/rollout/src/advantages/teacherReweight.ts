import { RolloutError, checkNumber } from '../error.ts';

export interface TeacherReweightInput {
  /** One advantage a rollout. */
  readonly advantages: ArrayLike<number>;
  /** Log-probabilities of the same tokens under the teacher (which sees the privileged context), row-major. */
  readonly teacherLogps: ArrayLike<number>;
  readonly logps: ArrayLike<number>;
  readonly shape: readonly [rows: number, columns: number];
}

/**
 * RLSD's per-token advantages (ms-swift `advantage_reweight="rlsd"`): a teacher that sees more rescales them, no more,
 *
 *   Â_t = A [(1 − λ) + λ clip(exp(sign(A) (teacher − logp)), 1 − ε, 1 + ε)]
 */
export function teacherReweight({ advantages, teacherLogps, logps, shape }: TeacherReweightInput, { lambda = 0.5, epsilon = 0.2 }: { lambda?: number; epsilon?: number } = {}): Float64Array {
  checkNumber('lambda', lambda, 0, 1);
  checkNumber('epsilon', epsilon, 0);
  const [rows, columns] = shape;
  if (advantages.length !== rows || teacherLogps.length !== rows * columns || logps.length !== rows * columns) {
    throw new RolloutError('length-mismatch', 'shape', `${rows}x${columns}`, 'does not fit the arrays', 'Pass one advantage a row and row-major log-probabilities.');
  }
  return Float64Array.from({ length: rows * columns }, (_, k) => {
    const a = advantages[Math.floor(k / columns)] as number;
    const gap = (teacherLogps[k] as number) - (logps[k] as number);
    const weight = Math.min(Math.max(Math.exp(Math.min(Math.sign(a) * gap, 700)), 1 - epsilon), 1 + epsilon);
    return a * (1 - lambda + lambda * weight);
  });
}
