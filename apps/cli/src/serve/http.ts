/**
 * @file The HTTP side: routes, key, limits and time-outs, on Node's own server. Nothing a client sends may end the
 * process: every handler answers with an error object, and what breaks the protocol is answered and cut off.
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Tokenizer } from '@trimpi/model';
import { ApiError, toApiError } from './api-error.ts';
import type { Backend, ChatJob } from './backend.ts';
import type { Piece } from './choice.ts';
import { chunkObject, completionObject, type Head, modelObject, usageChunk } from './objects.ts';
import { type ChatRequest, parseChatRequest } from './request.ts';
import type { Scheduler } from './scheduler.ts';

export interface HttpOptions {
  readonly backend: Pick<Backend, 'models' | 'prepare'>;
  readonly scheduler: Scheduler<ChatJob>;
  readonly tokenizer: Tokenizer;
  readonly apiKey: string | undefined;
  /** Origins whose pages may call, or `*`; none by default. */
  readonly cors: readonly string[];
  /** Host names that a request may give; undefined: any. On loopback this keeps web pages out that point a name of theirs here. */
  readonly hosts: readonly string[] | undefined;
  readonly maxBodyBytes: number;
  /** Until the headers, until the whole request, and between two requests of a connection. */
  readonly timeouts: { readonly headersMs: number; readonly requestMs: number; readonly keepAliveMs: number };
  /** One line for each request. */
  readonly log: (line: string) => void;
}

export const DEFAULT_TIMEOUTS: HttpOptions['timeouts'] = { headersMs: 10_000, requestMs: 60_000, keepAliveMs: 5_000 };

/** All bodies that are being read together, as a multiple of the largest. */
const BODIES = 8;
const HEARTBEAT_MS = 15_000;
const SENDING_MS = 30_000;
const MAX_CONNECTIONS = 512;

export function chatServer(options: HttpOptions): Server {
  const { timeouts } = options;
  const routes = new Routes(options);
  const server = createServer(
    { headersTimeout: timeouts.headersMs, requestTimeout: timeouts.requestMs, keepAliveTimeout: timeouts.keepAliveMs, connectionsCheckingInterval: Math.min(1000, timeouts.headersMs), maxHeaderSize: 16_384 },
    (request, response) => void routes.handle(request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const [status, text] = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? [408, 'Request Timeout'] : error.code === 'HPE_HEADER_OVERFLOW' ? [431, 'Request Header Fields Too Large'] : [400, 'Bad Request'];
    const body = JSON.stringify(new ApiError(status, `${text}.`).body);
    socket.end(`HTTP/1.1 ${status} ${text}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`, () => socket.destroy());
  });
  return server;
}

class Routes {
  readonly #o: HttpOptions;
  readonly #created = Math.floor(Date.now() / 1000);
  /** Bytes of the bodies that are being read. */
  #reading = 0;

  constructor(options: HttpOptions) {
    this.#o = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    const gone = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) gone.abort();
      this.#o.log(`${request.method} ${printable(request.url)} ${response.writableFinished ? response.statusCode : `${response.statusCode}, client went away`} ${Math.round(performance.now() - started)} ms`);
    });
    // A socket's own errors end in 'close'; unhandled they would end the process.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    response.setHeader('x-request-id', `req_${randomUUID()}`);
    response.setHeader('x-content-type-options', 'nosniff');
    try {
      await this.#route(request, response, gone.signal);
    } catch (error) {
      const answer = toApiError(error);
      if (answer.status >= 500 && !(error instanceof ApiError)) this.#o.log(`error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      this.#fail(request, response, answer);
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, gone: AbortSignal): Promise<void> {
    const { backend, hosts, scheduler } = this.#o;
    const path = (request.url ?? '').split('?', 1)[0]!;
    if (hosts !== undefined && !hosts.includes(hostName(request.headers.host))) {
      throw new ApiError(403, `The Host header ${JSON.stringify((request.headers.host ?? '').slice(0, 100))} is none of this machine's own names. Use http://127.0.0.1 or http://localhost, or start the server with another --host.`, { code: 'wrong_host' });
    }
    if (this.#cors(request, response)) return;
    if (path === '/health') {
      allow(request, 'GET', 'HEAD');
      json(response, scheduler.failing ? 503 : 200, { status: scheduler.failing ? 'failing' : 'ok', running: scheduler.running, waiting: scheduler.waiting });
      return;
    }
    this.#authorise(request);
    if (path === '/v1/models' || path.startsWith('/v1/models/')) {
      allow(request, 'GET', 'HEAD');
      const models = backend.models.map((id) => modelObject(id, this.#created));
      if (path === '/v1/models') json(response, 200, { object: 'list', data: models });
      else {
        const name = decoded(path.slice('/v1/models/'.length));
        const at = backend.models.indexOf(name);
        if (at < 0) throw new ApiError(404, `The model ${JSON.stringify(name.slice(0, 200))} is not served here. There is ${backend.models.join(', ')}.`, { param: 'model', code: 'model_not_found' });
        json(response, 200, models[at]!);
      }
      return;
    }
    if (path === '/v1/chat/completions') {
      allow(request, 'POST');
      await this.#chat(request, response, gone);
      return;
    }
    throw new ApiError(404, `${printable(path)} is not served here. There is POST /v1/chat/completions, GET /v1/models and GET /health.`, { code: 'not_found' });
  }

  async #chat(request: IncomingMessage, response: ServerResponse, gone: AbortSignal): Promise<void> {
    const { backend, scheduler, tokenizer } = this.#o;
    const chat = parseChatRequest(await this.#body(request, gone));
    const place = scheduler.enter();
    try {
      const head: Head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: chat.model };
      const stream = chat.stream ? new ChunkStream(response, head, chat, tokenizer) : undefined;
      const job = await backend.prepare(chat, place, (choice, piece) => stream?.piece(choice, piece), gone);
      if (stream === undefined) {
        await scheduler.submit(job, place);
        json(response, 200, completionObject(head, job, tokenizer));
      } else await stream.run(job, () => scheduler.submit(job, place));
    } finally {
      place.leave();
    }
  }

  /** The text of a body of JSON. @throws ApiError 411, 413, 415, 429, or 400 when it is cut off or no UTF-8. */
  async #body(request: IncomingMessage, gone: AbortSignal): Promise<string> {
    const { maxBodyBytes } = this.#o;
    const tooLarge = () => new ApiError(413, `The body has more than ${maxBodyBytes} bytes. Shrink the pictures, or start the server with a larger --max-body.`, { code: 'body_too_large' });
    if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? '')) throw new ApiError(415, 'The body must be JSON. Send content-type: application/json.', { code: 'unsupported_media_type' });
    if (!/^(identity)?$/i.test(request.headers['content-encoding'] ?? '')) throw new ApiError(415, 'Compressed bodies are not read. Send it without content-encoding.', { code: 'unsupported_media_type' });
    if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) throw tooLarge();
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        size += chunk.length;
        this.#reading += chunk.length;
        if (size > maxBodyBytes) throw tooLarge();
        if (this.#reading > BODIES * maxBodyBytes) throw new ApiError(429, 'Too many large requests at once. Try again in a moment.', { code: 'queue_full', headers: { 'retry-after': '1' } });
        chunks.push(chunk);
      }
      return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
    } catch (error) {
      if (error instanceof ApiError) throw error;
      throw new ApiError(400, gone.aborted || !request.complete ? 'The request was cut off.' : 'The body is not UTF-8.', { code: 'invalid_body' });
    } finally {
      this.#reading -= size;
    }
  }

  #authorise(request: IncomingMessage): void {
    const { apiKey } = this.#o;
    if (apiKey === undefined) return;
    const given = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    // Digests have one length, so the comparison tells nothing about the key's.
    if (!timingSafeEqual(digest(given), digest(apiKey))) throw new ApiError(401, 'The key is missing or wrong. Send authorization: Bearer and the key this server was started with.', { code: 'invalid_api_key', headers: { 'www-authenticate': 'Bearer' } });
  }

  /** Answers a preflight; true when that was all. */
  #cors(request: IncomingMessage, response: ServerResponse): boolean {
    const { cors } = this.#o;
    const { origin } = request.headers;
    const allowed = origin !== undefined && (cors.includes('*') || cors.includes(origin));
    if (cors.length > 0) response.setHeader('vary', 'origin');
    if (allowed) response.setHeader('access-control-allow-origin', cors.includes('*') ? '*' : origin);
    if (request.method !== 'OPTIONS' || !allowed) return false;
    response.setHeader('access-control-allow-methods', 'GET, POST');
    response.setHeader('access-control-allow-headers', 'authorization, content-type, x-stainless-os, x-stainless-lang, x-stainless-package-version, x-stainless-runtime, x-stainless-runtime-version, x-stainless-arch, x-stainless-retry-count, x-stainless-timeout');
    response.setHeader('access-control-max-age', '600');
    response.writeHead(204).end();
    return true;
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: ApiError): void {
    if (response.destroyed || response.writableEnded) return;
    if (response.headersSent) {
      response.end(`data: ${JSON.stringify(error.body)}\n\n`);
      return;
    }
    for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
    if (!request.complete) {
      // The rest of the body is not wanted: it is let go by for a moment, so that the answer is read, and then cut off.
      response.setHeader('connection', 'close');
      // Null when the client has gone meanwhile, whatever the types say.
      const socket: Socket | null = request.socket;
      response.on('finish', () => setTimeout(() => socket?.destroy(), 500).unref());
      request.resume();
    }
    json(response, error.status, error.body);
  }
}

/** A completion as chunks. Those with the most probable tokens wait until these are known, at the end. */
class ChunkStream {
  readonly #events: EventStream;
  readonly #head: Head;
  readonly #chat: ChatRequest;
  readonly #tokenizer: Tokenizer;
  readonly #waiting: { readonly choice: number; readonly piece: Piece; readonly at: number }[] = [];
  readonly #seen: number[] = [];

  constructor(response: ServerResponse, head: Head, chat: ChatRequest, tokenizer: Tokenizer) {
    this.#events = new EventStream(response);
    this.#head = head;
    this.#chat = chat;
    this.#tokenizer = tokenizer;
  }

  piece(choice: number, piece: Piece): void {
    if (this.#chat.topLogprobs === 0) {
      this.#events.send(chunkObject(this.#head, choice, piece, this.#tokenizer, this.#chat.logprobs));
      return;
    }
    const at = this.#seen[choice] ?? 0;
    this.#seen[choice] = at + piece.tokens.length;
    this.#waiting.push({ choice, piece, at });
  }

  async run(job: ChatJob, sample: () => Promise<void>): Promise<void> {
    this.#events.open();
    job.choices.forEach((_, i) => this.#events.send(chunkObject(this.#head, i, 'role', this.#tokenizer, false)));
    try {
      await sample();
    } finally {
      this.#events.stopHeartbeat();
    }
    for (const { choice, piece, at } of this.#waiting) this.#events.send(chunkObject(this.#head, choice, piece, this.#tokenizer, true, job.choices[choice]!.top?.slice(at)));
    if (this.#chat.includeUsage) this.#events.send(usageChunk(this.#head, job));
    this.#events.end();
  }
}

/** Server-sent events; a comment now and then keeps the connection open while the request waits. Who reads nothing for two of them is cut off. */
class EventStream {
  readonly #response: ServerResponse;
  #beat: NodeJS.Timeout | undefined;
  #stuck = 0;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  open(): void {
    this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' });
    this.#response.flushHeaders();
    this.#beat = setInterval(() => {
      this.#stuck = this.#response.writableLength > 0 ? this.#stuck + 1 : 0;
      if (this.#stuck === 2) this.#response.destroy();
      else this.#write(': waiting\n\n');
    }, HEARTBEAT_MS);
  }

  send(value: object): void {
    this.#write(`data: ${JSON.stringify(value)}\n\n`);
  }

  end(): void {
    if (this.#response.destroyed) return;
    limitSending(this.#response);
    this.#response.end('data: [DONE]\n\n');
  }

  stopHeartbeat(): void {
    clearInterval(this.#beat);
  }

  #write(text: string): void {
    if (!this.#response.destroyed && !this.#response.writableEnded) this.#response.write(text);
  }
}

function json(response: ServerResponse, status: number, value: object): void {
  if (response.destroyed) return;
  const body = Buffer.from(JSON.stringify(value));
  limitSending(response);
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'content-length': body.length });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** An answer that nobody reads does not hold its connection; afterwards the keep-alive limit takes over. */
function limitSending(response: ServerResponse): void {
  response.setTimeout(SENDING_MS, () => response.destroy());
}

function allow(request: IncomingMessage, ...methods: readonly string[]): void {
  if (!methods.includes(request.method ?? '')) throw new ApiError(405, `${request.method} is not served here. Use ${methods.join(' or ')}.`, { code: 'method_not_allowed', headers: { allow: methods.join(', ') } });
}

/** The name of a Host header without its port. */
function hostName(host = ''): string {
  return host.replace(/:\d*$/, '').toLowerCase();
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What a client sent, for a log line or a message: short, and without control characters. */
function printable(text = ''): string {
  return text.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
