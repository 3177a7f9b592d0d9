/** @file `trimpi serve`: a checkpoint folder behind an OpenAI-compatible endpoint. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { basename, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { explain, UsageError } from '../errors.ts';
import { bitsOption } from '../model/command.ts';
import { type Bits, openModel } from '../model/load.ts';
import { collect, examples, integer, POSITIONS } from '../options.ts';
import { Backend, type ChatJob } from './backend.ts';
import { Batch, READ_TOKENS } from './batch.ts';
import { chatServer, DEFAULT_TIMEOUTS } from './http.ts';
import { privateAddresses } from './image-source.ts';
import { Scheduler } from './scheduler.ts';

export interface ServeOptions {
  readonly model: string;
  /** Folders by name. */
  readonly adapter?: Readonly<Record<string, string>>;
  readonly bits?: Bits;
  readonly name?: string;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  readonly cors?: readonly string[];
  readonly maxBatch: number;
  readonly batchTokens: number;
  readonly maxPositions?: number;
  readonly maxQueue: number;
  readonly maxNewTokens: number;
  readonly maxBody: number;
  readonly allowImageUrls?: boolean;
  readonly json?: boolean;
}

export function serveCommand(program: Command): void {
  program
    .command('serve')
    .description('an OpenAI-compatible endpoint: /v1/chat/completions with images and streaming, /v1/models, /health')
    .requiredOption('--model <dir>', 'checkpoint folder: config.json, safetensors, tokenizer')
    .option('--adapter <name=dir>', 'LoRA adapter folder (PEFT), served as the model MODEL:NAME; may be given several times', adapterOption)
    .option('--bits <n>', 'keep the weights in 4, 8 or 16 bits on the device (default: full precision)', bitsOption)
    .option('--name <name>', "what the model is called (default: the folder's name)")
    .option('--host <address>', 'address to listen on; 0.0.0.0 for all networks', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0: any free one', integer(0, 65_535), 8000)
    .option('--api-key <key>', 'key that clients must send (default: the environment variable TRIMPI_API_KEY)')
    .option('--cors <origin>', 'origin whose web pages may call, as https://example.org, or *; may be given several times', collect)
    .option('--max-batch <n>', 'completions computed at once', integer(1, 1024), 32)
    .option('--batch-tokens <n>', 'tokens of prompts and answers held at once; no request can have more', integer(64, 10_000_000), 16_384)
    .option(...POSITIONS)
    .option('--max-queue <n>', 'requests that may wait; further ones get 429 with Retry-After', integer(1, 100_000), 64)
    .option('--max-new-tokens <n>', 'length of answers for requests without max_tokens', integer(1, 32_768), 256)
    .option('--max-body <mib>', 'largest request, MiB', integer(1, 1024), 20)
    .option('--allow-image-urls', 'fetch pictures from http and https addresses outside private networks')
    .option('--json', 'log as lines of JSON')
    .addHelpText('after', examples('trimpi serve --model runs/demo/model', 'trimpi serve --model models/qwen --adapter mine=runs/mine/adapter --port 8080', 'TRIMPI_API_KEY=secret trimpi serve --model models/qwen --host 0.0.0.0'))
    .action(serve);
}

/** `NAME=FOLDER`, or a folder whose name is the adapter's. */
export function adapterOption(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  const dir = text.slice(at + 1);
  const name = at > 0 ? text.slice(0, at) : basename(resolve(dir));
  if (dir === '' || !/^[\w.-]+$/.test(name)) throw new InvalidArgumentError('Give NAME=FOLDER; a name has letters, digits, dots, dashes and underscores.');
  if (Object.hasOwn(before, name)) throw new InvalidArgumentError(`${name} is there already. Give NAME=FOLDER with another name.`);
  return { ...before, [name]: dir };
}

export async function serve(options: ServeOptions): Promise<void> {
  const { json = false } = options;
  const note = (line: string) => console.error(json ? JSON.stringify({ time: new Date().toISOString(), message: line }) : line);
  const server = await startServer(options, note);
  console.log(json ? JSON.stringify({ url: server.url, models: server.models }) : `Serving ${server.models.join(', ')} at ${server.url}. Ctrl-C ends it.`);
  if (!isLoopback(options.host) && keyOf(options) === undefined) note(`Warning: everybody who reaches ${options.host} can use this model. Set --api-key or TRIMPI_API_KEY.`);
  await new Promise<void>((done) => {
    let asked = false;
    const onSignal = () => {
      if (asked) process.exit(130);
      asked = true;
      note('Stopping; answers under way are finished. (Once more: at once.)');
      void server.close().finally(() => {
        process.off('SIGINT', onSignal);
        process.off('SIGTERM', onSignal);
        done();
      });
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}

export interface RunningServer {
  /** Base of the API, with /v1. */
  readonly url: string;
  readonly models: readonly string[];
  /** Finishes what runs, refuses what waits, and frees the model. */
  close(): Promise<void>;
}

/** @throws UsageError for a wrong folder, name, origin, or an address that cannot be listened on. */
export async function startServer(options: ServeOptions, log: (line: string) => void, timeouts = DEFAULT_TIMEOUTS): Promise<RunningServer> {
  const { host, port, maxBatch, batchTokens, maxPositions, maxBody, cors = [], adapter = {} } = options;
  const name = options.name ?? basename(resolve(options.model));
  if (!/^[\w./-]+$/.test(name)) throw new UsageError(`--name ${name} cannot be a model's name. Use letters, digits, dots, dashes, slashes and underscores.`);
  for (const origin of cors) if (origin !== '*' && (!URL.canParse(origin) || new URL(origin).origin !== origin)) throw new UsageError(`--cors ${origin} is no origin. Write it as https://example.org, or *.`);
  const opened = await openModel(options.model, adapter, options.bits, {
    rows: maxBatch, tokens: batchTokens, positions: maxPositions,
    // A prompt is read in one go, however long; room is planned for the long ones that are asked for.
    readTokens: Math.min(Math.max(READ_TOKENS, maxPositions ?? 0), batchTokens),
  });
  const backend = new Backend({
    opened, name, maxRows: maxBatch, batchTokens, maxNewTokens: options.maxNewTokens,
    images: { allowUrls: options.allowImageUrls === true, maxBytes: maxBody * 2 ** 20, timeoutMs: 10_000, blocked: privateAddresses() },
  });
  const batch = new Batch({ opened, maxRows: maxBatch, batchTokens });
  const scheduler = new Scheduler<ChatJob>({
    // Of the pictures of those that wait two full batches are ready: what is decoded while one runs, and as much again.
    runner: batch, maxQueue: options.maxQueue, maxRows: maxBatch, maxHeld: 2 * batchTokens,
    onError: (error) => log(`error: ${explain(error)}`),
  });
  const hosts = isLoopback(host) ? ['localhost', '127.0.0.1', '[::1]', host.toLowerCase()] : undefined;
  const server = chatServer({ backend, scheduler, tokenizer: opened.processor.tokenizer, apiKey: keyOf(options), cors, hosts, maxBodyBytes: maxBody * 2 ** 20, timeouts, log });
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    backend.dispose();
    throw new UsageError(`--host ${host} --port ${port} cannot be listened on: ${cause instanceof Error ? cause.message : String(cause)}. Give another port; 0 takes any free one.`);
  }
  server.on('error', (error) => log(`error: ${error.message}`));
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}/v1`,
    models: backend.models,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      await scheduler.close();
      // Answers that are done get a moment to be read.
      server.closeIdleConnections();
      const cut = setTimeout(() => server.closeAllConnections(), 1000);
      await closed;
      clearTimeout(cut);
      batch.reset();
      backend.dispose();
    },
  };
}

/** An empty key is none. */
function keyOf({ apiKey }: Pick<ServeOptions, 'apiKey'>): string | undefined {
  return (apiKey ?? process.env['TRIMPI_API_KEY']) || undefined;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}
