/** What kind of thing was wrong; stable, so that callers can branch on it. */
export type ModelErrorCode =
  /** A field of `config.json` (or another JSON configuration) is missing, of the wrong type or out of range. */
  | 'invalid-config'
  /** The configuration is well formed, but describes something this package does not compute. */
  | 'unsupported'
  /** A safetensors file is truncated, malformed or hostile. */
  | 'invalid-safetensors'
  /** A tensor that was asked for is not in the checkpoint, or has another shape or dtype than the model needs. */
  | 'tensor-mismatch'
  /** A file could not be found. */
  | 'not-found'
  /** A file or a server failed while it was read or written. */
  | 'io'
  /** A tokenizer file is malformed, or text and tokens do not fit together. */
  | 'invalid-tokenizer'
  /** Chat messages, images or token ids that do not fit together. */
  | 'invalid-input'
  /** An image that cannot be decoded or is outside of the sizes the model takes. */
  | 'invalid-image'
  /** An adapter file or a LoRA configuration that does not fit the model. */
  | 'invalid-adapter'
  /** A plan needs more memory than there is. */
  | 'does-not-fit'
  /** The caller's `AbortSignal` fired. */
  | 'aborted';

/** The one error class of `@trimpi/model`: which argument, which value, and what to do about it. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
  readonly code: ModelErrorCode;
  /** Name of the argument, field or file that is wrong. */
  readonly argument: string;
  /** The offending value. */
  readonly value: unknown;
  /** What the caller can do. */
  readonly remedy: string;

  constructor(
    code: ModelErrorCode,
    problem: { argument: string; value: unknown; message: string; remedy: string; cause?: unknown },
  ) {
    const { argument, value, message, remedy, cause } = problem;
    super(`${argument}: ${message} (got ${describe(value)}). ${remedy}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.argument = argument;
    this.value = value;
    this.remedy = remedy;
  }
}

/** A short, safe rendering of any value for a message. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (value === null || typeof value !== 'object') return String(value);
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} of ${value.byteLength} bytes`;
  if (Array.isArray(value) && value.length > 8) return `array of ${value.length}`;
  try {
    const text = JSON.stringify(value) ?? 'object';
    return text.length > 80 ? `${text.slice(0, 77)}...` : text;
  } catch {
    return 'object';
  }
}

/** The text of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
