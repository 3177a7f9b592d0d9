export type PipelineErrorCode = 'invalid-option' | 'invalid-checkpoint' | 'storage' | 'interrupted' | 'diverged';

/** The one error class of `@trimpi/pipeline`. */
export class PipelineError extends Error {
  override readonly name = 'PipelineError';
  readonly code: PipelineErrorCode;
  readonly argument: string;

  constructor(code: PipelineErrorCode, argument: string, message: string, remedy: string, options?: ErrorOptions) {
    super(`${argument}: ${message} ${remedy}`, options);
    this.code = code;
    this.argument = argument;
  }
}
