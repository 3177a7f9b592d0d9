import type { Failure } from '../protocol.ts';

/** Code and message of any error; those of TriMPI say what to do. */
export function failureOf(cause: unknown): Failure {
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : 'unknown';
  return { code, message: cause instanceof Error ? cause.message : String(cause) };
}
