/** @file Errors as OpenAI's API writes them: `{ error: { message, type, param, code } }`. */

export interface ApiErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null };
}

/** What a request is answered with when it cannot be served; the message names what is wrong and what to do. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ApiErrorBody;

  constructor(status: number, message: string, { code = null, param = null, headers = {} }: { readonly code?: string | null; readonly param?: string | null; readonly headers?: Readonly<Record<string, string>> } = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
    this.body = { error: { message, type: typeOf(status), param, code } };
  }
}

function typeOf(status: number): string {
  if (status === 401 || status === 403) return 'authentication_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

/** What a model refuses is the caller's to mend; anything else is ours, and its details stay in our log. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof Error && error.name === 'ModelError' && 'code' in error && (error.code === 'invalid-input' || error.code === 'invalid-image')) {
    return new ApiError(400, error.message, { code: String(error.code).replace('-', '_'), param: 'messages' });
  }
  return new ApiError(500, 'The server failed at this request; its log says why.', { code: 'internal_error' });
}
