/** The one error class of `@trimpi/eval`. */
export class EvalError extends Error {
  override readonly name = 'EvalError';
  readonly code: 'invalid-input';
  readonly argument: string;

  constructor(code: 'invalid-input', argument: string, message: string, remedy: string) {
    super(`${argument}: ${message} ${remedy}`);
    this.code = code;
    this.argument = argument;
  }
}
