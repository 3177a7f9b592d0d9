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

/** @throws PipelineError `diverged` for a loss (or what else a step gives) that is not a finite number, naming it. */
export function checkFinite(where: string, values: Readonly<Record<string, number>>): void {
  const bad = Object.entries(values).find(([, value]) => !Number.isFinite(value));
  if (bad !== undefined) throw new PipelineError('diverged', where, `has ${bad[1]} as ${bad[0]}.`, 'Go on from what is saved with a lower learning rate in the recipe, or with another seed.');
}
