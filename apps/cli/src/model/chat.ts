import { createInterface } from 'node:readline/promises';
import type { ChatMessage, RawImage } from '@trimpi/model';
import { explain, UsageError } from '../errors.ts';
import { nearest } from '../options.ts';
import { answer, type SamplingOptions } from './answer.ts';
import { type Bits, loadImage, loadModel, type LoadedModel, ONE_ANSWER } from './load.ts';

interface ChatOptions extends SamplingOptions {
  readonly model: string;
  readonly adapter?: string;
  readonly bits?: Bits;
  readonly maxPositions?: number;
  readonly system?: string;
  readonly json?: boolean;
}

const HELP = '/image FILE adds a picture to the next message, /clear starts over, /exit ends. Ctrl-C stops an answer.';

export async function chat(options: ChatOptions): Promise<void> {
  const { json = false } = options;
  const loaded = await loadModel(options.model, options.adapter, options.bits, { ...ONE_ANSWER, positions: options.maxPositions });
  const terminal = process.stdin.isTTY === true && !json;
  const lines = createInterface({ input: process.stdin, ...(terminal ? { output: process.stdout, prompt: '> ' } : {}) });
  let stop: AbortController | undefined;
  const onSignal = () => (stop === undefined || stop.signal.aborted ? lines.close() : stop.abort());
  lines.on('SIGINT', onSignal);
  process.on('SIGINT', onSignal);
  if (terminal) {
    console.log(HELP);
    lines.prompt();
  }
  const talk = new Conversation(loaded, options);
  try {
    for await (const line of lines) {
      if (line.trim() === '/exit') break;
      try {
        stop = new AbortController();
        await talk.take(line.trim(), json, stop.signal);
      } catch (error) {
        // A wrong file name or a message that cannot be used ends the turn, not the chat.
        console.error(json ? JSON.stringify({ error: explain(error) }) : explain(error));
        if (!(error instanceof Error && /^(Model|Usage)Error$/.test(error.name))) throw error;
      } finally {
        stop = undefined;
      }
      if (terminal) lines.prompt();
    }
  } finally {
    process.off('SIGINT', onSignal);
    lines.close();
    loaded.dispose();
  }
}

class Conversation {
  readonly #loaded: LoadedModel;
  readonly #options: ChatOptions;
  #messages: ChatMessage[] = [];
  #images: RawImage[] = [];
  /** Pictures that wait for the next message. */
  #waiting: RawImage[] = [];

  constructor(loaded: LoadedModel, options: ChatOptions) {
    this.#loaded = loaded;
    this.#options = options;
  }

  async take(line: string, json: boolean, signal: AbortSignal): Promise<void> {
    if (line === '') return;
    if (line.startsWith('/')) {
      await this.#command(line, json);
      return;
    }
    const { system } = this.#options;
    const images = [...this.#images, ...this.#waiting];
    const messages: ChatMessage[] = [
      ...(this.#messages.length > 0 || system === undefined ? this.#messages : [{ role: 'system', content: system }]),
      { role: 'user', content: [...this.#waiting.map(() => ({ type: 'image' }) as const), { type: 'text', text: line }] },
    ];
    const result = await answer(this.#loaded, messages, images, this.#options, json ? () => undefined : (piece) => process.stdout.write(piece), signal);
    console.log(json ? JSON.stringify(result) : '');
    this.#messages = [...messages, { role: 'assistant', content: result.text }];
    this.#images = images;
    this.#waiting = [];
    // Every turn has a prompt of its own length: the buffers made for it would pile up.
    this.#loaded.model.setTrainable();
  }

  async #command(line: string, json: boolean): Promise<void> {
    const [name = '', ...rest] = line.split(/\s+/);
    const say = (text: string) => (json ? undefined : console.log(text));
    switch (name) {
      case '/image':
        if (rest.length === 0) throw new UsageError('/image needs a file. Give a PNG, JPEG or WebP.');
        this.#waiting.push(await loadImage(line.slice('/image'.length).trim()));
        say(`${this.#waiting.length} picture${this.#waiting.length === 1 ? '' : 's'} with the next message.`);
        break;
      case '/clear':
        this.#messages = [];
        this.#images = [];
        this.#waiting = [];
        say('Started over.');
        break;
      case '/help':
        say(HELP);
        break;
      default:
        throw new UsageError(`${name} is no command. ${nearest(name, ['/image', '/clear', '/help', '/exit']) === undefined ? HELP : `Did you mean ${nearest(name, ['/image', '/clear', '/help', '/exit'])}?`}`);
    }
  }
}
