/** Codes of every error that this package throws. */
export type RuntimeErrorCode =
  | 'no-adapter'
  | 'device-lost'
  | 'shape'
  | 'dtype'
  | 'input'
  | 'limit'
  | 'compile'
  | 'validation'
  | 'out-of-memory'
  | 'disposed'
  | 'not-finite'
  | 'autograd';

/** The one error class of `@trimpi/runtime`: what is wrong (`code`), where (`argument`), and what to do (`remedy`). */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly code: RuntimeErrorCode;
  readonly argument: string;
  readonly remedy: string;

  constructor(code: RuntimeErrorCode, argument: string, message: string, remedy: string, options?: ErrorOptions) {
    super(`${argument}: ${message} ${remedy}`, options);
    this.code = code;
    this.argument = argument;
    this.remedy = remedy;
  }
}

/** Throws a `RuntimeError` of code `shape` unless `condition` holds. */
export function checkShape(condition: boolean, argument: string, message: string, remedy: string): asserts condition {
  if (!condition) throw new RuntimeError('shape', argument, message, remedy);
}
