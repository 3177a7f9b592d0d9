/**
 * @file Ranges of a file on an HTTP server. Redirects are followed (the hub answers with one to its storage), a
 * connection that breaks or stalls is taken up again where it stopped, and a file that changes in between is refused.
 */
import { ModelError, reasonOf } from '../errors.ts';
import { checkRange, type ByteSource } from '../safetensors/byte-source.ts';
import type { ModelFiles } from './model-files.ts';

export interface HttpOptions {
  /** Sent with every request, for instance `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How often a read that makes no progress is tried again. Default 4. */
  readonly retries?: number;
  /** Wait before the first of them, milliseconds; doubles each time. Default 250. */
  readonly retryDelay?: number;
  /** A connection that sends nothing for so long is broken off and taken up again, milliseconds. Default 30,000. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
  /** A replacement for the global `fetch`. */
  readonly fetch?: typeof fetch;
}

interface Remote {
  readonly size: number;
  /** ETag or modification date: the same file is the same string. */
  readonly version: string;
}

/** A file at an address. Its size is asked for at the first use. */
export function httpSource(url: string | URL, options: HttpOptions = {}): ByteSource {
  const name = String(url);
  let remote: Promise<Remote> | undefined;
  const head = (): Promise<Remote> => {
    remote ??= probe(name, options).catch((error: unknown) => {
      remote = undefined;
      throw error;
    });
    return remote;
  };
  return {
    name,
    size: async () => (await head()).size,
    read: async (offset, length) => {
      const file = await head();
      checkRange(name, offset, length, file.size);
      const out = new Uint8Array(length);
      let filled = 0;
      await streamRange(name, offset, length, file, options, (chunk) => {
        out.set(chunk, filled);
        filled += chunk.byteLength;
      });
      return out;
    },
  };
}

/** The files under an address. A 404 means that a file is not there. */
export function httpFiles(base: string | URL, options: HttpOptions = {}): ModelFiles {
  const root = String(base).replace(/\/?$/, '/');
  return {
    name: root,
    open: async (file) => {
      const source = httpSource(new URL(file, root), options);
      try {
        await source.size();
        return source;
      } catch (error) {
        if (error instanceof ModelError && error.code === 'not-found') return null;
        throw error;
      }
    },
  };
}

/** Hands over the bytes from `offset` to the end as they come, with the same care: for downloads that resume. */
export async function streamFile(url: string | URL, offset: number, options: HttpOptions, onChunk: (chunk: Uint8Array, size: number, version: string) => Promise<void> | void): Promise<{ size: number; version: string }> {
  const name = String(url);
  const file = await probe(name, options);
  if (offset > file.size) {
    throw new ModelError('io', { argument: name, value: offset, message: `has only ${file.size} bytes`, remedy: 'Delete the partial download and start again.' });
  }
  await streamRange(name, offset, file.size - offset, file, options, (chunk) => onChunk(chunk, file.size, file.version));
  return file;
}

/** Size and version of a file, without its content. @throws ModelError `not-found`, `io`. */
export async function probe(name: string, options: HttpOptions): Promise<Remote> {
  return retrying(name, options, async (connection) => {
    // A range of one byte, and not HEAD: storage behind signed addresses often allows only GET.
    const response = await connection.get({ range: 'bytes=0-0' });
    const version = versionOf(response);
    connection.close();
    if (response.status === 206) {
      const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1];
      if (total !== undefined) return { done: { size: Number(total), version } };
    } else if (response.status === 416) {
      // An empty file has no first byte.
      if (response.headers.get('content-range')?.endsWith('*/0')) return { done: { size: 0, version } };
    } else if (response.status === 200) {
      const length = response.headers.get('content-length');
      if (length !== null && response.headers.get('content-encoding') === null) return { done: { size: Number(length), version } };
    }
    throw new ModelError('io', { argument: name, value: response.status, message: 'does not say how large it is', remedy: 'Use a server that answers range requests.' });
  });
}

async function streamRange(name: string, offset: number, length: number, file: Remote, options: HttpOptions, onChunk: (chunk: Uint8Array) => Promise<void> | void): Promise<void> {
  let done = 0;
  if (length === 0) return;
  const attempt = async (connection: Connection): Promise<Attempt<true>> => {
    const from = offset + done;
    const response = await connection.get({ range: `bytes=${from}-${offset + length - 1}` });
    if (versionOf(response) !== file.version) {
      throw new ModelError('io', { argument: name, value: versionOf(response), message: 'changed on the server while it was read', remedy: 'Open it again.' });
    }
    // A server that knows no ranges sends the whole file: what lies before the range is passed over.
    let skip = 0;
    if (response.status === 200) skip = from;
    else if (response.status !== 206 || !(response.headers.get('content-range') ?? '').startsWith(`bytes ${from}-`)) {
      throw new ModelError('io', { argument: name, value: `${response.status} ${response.headers.get('content-range') ?? ''}`, message: 'answered with another range than asked for', remedy: 'Use a server that answers range requests.' });
    }
    for await (const received of connection.chunks(response)) {
      const skipped = Math.min(skip, received.byteLength);
      skip -= skipped;
      const chunk = received.subarray(skipped, skipped + length - done);
      if (chunk.byteLength > 0) {
        try {
          await onChunk(chunk);
        } catch (error) {
          throw new NotTaken(error);
        }
        done += chunk.byteLength;
      }
      if (done === length) break;
    }
    connection.close();
    return done === length ? { done: true } : { reason: `the connection ended after ${done} of ${length} bytes` };
  };
  try {
    await retrying(name, options, attempt, () => done);
  } catch (error) {
    throw error instanceof NotTaken ? error.cause : error;
  }
}

/** What `onChunk` threw: a fault of where the bytes go, which no further attempt would mend. */
class NotTaken extends Error {
  constructor(cause: unknown) {
    super('bytes were not taken', { cause });
  }
}

interface Connection {
  get(headers: Readonly<Record<string, string>>): Promise<Response>;
  chunks(response: Response): AsyncGenerator<Uint8Array, void>;
  close(): void;
}

type Attempt<T> = { readonly done: T } | { readonly reason: string };

/**
 * Runs attempts until one is done. Failures of the network and of the server are tried again, at once and with a new count
 * when `taken` (bytes so far) grew in the attempt: bytes that are passed over are no progress.
 */
async function retrying<T>(name: string, options: HttpOptions, attempt: (connection: Connection) => Promise<Attempt<T>>, taken: () => number = () => 0): Promise<T> {
  const { retries = 4, retryDelay = 250, timeout = 30_000, signal } = options;
  let failures = 0;
  for (;;) {
    if (signal?.aborted) throw aborted(name, signal);
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const alive = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => controller.abort(new Error(`no byte in ${timeout} ms`)), timeout);
    };
    const close = (): void => {
      clearTimeout(timer);
      controller.abort();
    };
    let reason: string;
    let retryAfter = 0;
    const before = taken();
    try {
      alive();
      const result = await attempt({
        get: async (headers) => {
          const response = await (options.fetch ?? fetch)(name, {
            headers: { 'accept-encoding': 'identity', ...options.headers, ...headers },
            redirect: 'follow',
            signal: controller.signal,
          });
          alive();
          refuseStatus(name, response);
          return response;
        },
        chunks: async function* (response) {
          if (response.body === null) return;
          const reader = response.body.getReader();
          try {
            for (;;) {
              const { done, value } = await reader.read();
              if (done) return;
              clearTimeout(timer);
              yield value;
              alive();
            }
          } finally {
            reader.cancel().catch(() => undefined);
          }
        },
        close,
      });
      if ('done' in result) return result.done;
      ({ reason } = result);
    } catch (error) {
      if (signal?.aborted) throw aborted(name, signal);
      if (error instanceof ModelError || error instanceof NotTaken) throw error;
      if (error instanceof ServerBusy) retryAfter = error.retryAfter;
      reason = controller.signal.aborted ? reasonOf(controller.signal.reason) : networkReason(error);
    } finally {
      close();
      signal?.removeEventListener('abort', onAbort);
    }
    failures = taken() > before ? 0 : failures + 1;
    if (failures > retries) {
      throw new ModelError('io', { argument: name, value: reason, message: `could not be read after ${failures} attempts`, remedy: 'Check the connection and try again: what was downloaded is kept.' });
    }
    await pause(Math.max(retryAfter, failures === 0 ? 0 : retryDelay * 2 ** (failures - 1)), signal);
  }
}

class ServerBusy extends Error {
  readonly retryAfter: number;
  constructor(status: number, retryAfter: number) {
    super(`status ${status}`);
    this.retryAfter = retryAfter;
  }
}

/** Sorts error statuses: missing, forbidden (both final) and busy (tried again). */
function refuseStatus(name: string, response: Response): void {
  const { status } = response;
  if (status === 200 || status === 206 || status === 416) return;
  response.body?.cancel().catch(() => undefined);
  if (status === 404 || status === 410) {
    throw new ModelError('not-found', { argument: name, value: status, message: 'is not on the server', remedy: 'Check the address, the repository and the revision.' });
  }
  if (status === 408 || status === 429 || status >= 500) {
    const seconds = Number(response.headers.get('retry-after') ?? 0);
    throw new ServerBusy(status, Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : 0);
  }
  const remedy = status === 401 || status === 403 ? 'Give an access token with the right to read it.' : 'Check the address.';
  throw new ModelError('io', { argument: name, value: status, message: 'was refused by the server', remedy });
}

function versionOf(response: Response): string {
  return response.headers.get('etag') ?? response.headers.get('last-modified') ?? '';
}

function aborted(name: string, signal: AbortSignal): ModelError {
  return new ModelError('aborted', { argument: name, value: reasonOf(signal.reason), message: 'was not read to the end', remedy: 'Read it again when wanted.' });
}

function networkReason(error: unknown): string {
  // undici says only "fetch failed" and puts the reason into the cause.
  return error instanceof Error && error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : reasonOf(error);
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  if (milliseconds <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done, { once: true });
  });
}
