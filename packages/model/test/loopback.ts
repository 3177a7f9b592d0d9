/** @file A server on the loopback interface that plays a file host, with the faults of real ones. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Loopback {
  readonly url: string;
  /** Requests so far, as `GET /path range`. */
  readonly requests: string[];
  /** Authorisation headers that came in. */
  readonly tokens: string[];
  /** Bytes of bodies sent. */
  sent: number;
  close(): Promise<void>;
}

export type Handler = (request: IncomingMessage, response: ServerResponse, server: Loopback) => void;

export async function listen(handler: Handler): Promise<Loopback> {
  const server: Server = createServer((request, response) => {
    loopback.requests.push(`${request.method} ${request.url} ${request.headers.range ?? ''}`.trim());
    if (request.headers.authorization !== undefined) loopback.tokens.push(request.headers.authorization);
    response.on('error', () => undefined);
    handler(request, response, loopback);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const loopback: Loopback = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    tokens: [],
    sent: 0,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return loopback;
}

/** The range of a request, `undefined` for the whole file, null for one outside of it. */
export function rangeOf(request: IncomingMessage, size: number): { from: number; to: number } | undefined | null {
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  if (match === null) return undefined;
  const from = Number(match[1]);
  return from >= size ? null : { from, to: Math.min(Number(match[2]), size - 1) };
}

export interface SendOptions {
  readonly etag?: string;
  /** Break the connection off after so many bytes of the body. */
  readonly breakAfter?: number;
  /** Send so many bytes of the body and then nothing. */
  readonly stallAfter?: number;
  /** Know no ranges. */
  readonly whole?: boolean;
}

/** Answers a request for a file as a good server does, or with a fault. */
export function sendFile(request: IncomingMessage, response: ServerResponse, server: Loopback, content: Uint8Array, options: SendOptions = {}): void {
  const range = options.whole === true ? undefined : rangeOf(request, content.byteLength);
  if (range === null) {
    response.writeHead(416, { 'content-range': `bytes */${content.byteLength}` }).end();
    return;
  }
  const body = range === undefined ? content : content.subarray(range.from, range.to + 1);
  const headers: Record<string, string> = { etag: options.etag ?? '"1"', 'content-length': String(body.byteLength) };
  if (range !== undefined) headers['content-range'] = `bytes ${range.from}-${range.to}/${content.byteLength}`;
  response.writeHead(range === undefined ? 200 : 206, headers);
  const limit = options.breakAfter ?? options.stallAfter;
  if (limit === undefined || body.byteLength <= limit) {
    server.sent += body.byteLength;
    response.end(body);
    return;
  }
  server.sent += limit;
  response.write(body.subarray(0, limit), () => {
    if (options.breakAfter !== undefined) setTimeout(() => response.destroy(), 5);
  });
}
