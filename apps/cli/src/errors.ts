/** Errors of our packages say what is wrong and what to do; anything else is a defect and shown whole. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'InterruptedError') return error.message;
  return /^(Runtime|Model|Rollout|Dataset|Trainer|Eval|Pipeline|Usage)Error$/.test(error.name) ? `${error.name}: ${error.message}` : (error.stack ?? error.message);
}

/** 130 after Ctrl-C (as shells do), 2 for a wrong option, else 1. */
export function exitCodeOf(error: unknown): number {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'interrupted' ? 130 : code === 'invalid-option' || code === 'invalidArgument' || (error instanceof Error && error.name === 'UsageError') ? 2 : 1;
}

/** A wrong option or file on the command line. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
