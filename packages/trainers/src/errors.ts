export type TrainerErrorCode = 'invalid-option' | 'invalid-checkpoint' | 'diverged' | 'aborted';

/** The one error class of `@trimpi/trainers`: what is wrong (`code`), where (`argument`), and what to do about it. */
export class TrainerError extends Error {
  override readonly name = 'TrainerError';
  readonly code: TrainerErrorCode;
  readonly argument: string;

  constructor(code: TrainerErrorCode, argument: string, message: string, remedy: string, options?: ErrorOptions) {
    super(`${argument}: ${message} ${remedy}`, options);
    this.code = code;
    this.argument = argument;
  }
}
