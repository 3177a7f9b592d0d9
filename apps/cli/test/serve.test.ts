import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { packBatch, Processor } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import fc from 'fast-check';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openModel } from '../src/model/load.ts';
import { type RunningServer, type ServeOptions, startServer } from '../src/serve/command.ts';
import { DEFAULT_TIMEOUTS } from '../src/serve/http.ts';
import { golden, trimpi } from './helpers.ts';

const MODEL = golden('model');
const IMAGE = `data:image/png;base64,${readFileSync(golden('image_93x61.png')).toString('base64')}`;
const KEY = 'a key with spaces';
const OPTIONS: ServeOptions = { model: MODEL, adapter: { text: golden('adapter_text') }, name: 'tiny', host: '127.0.0.1', port: 0, apiKey: KEY, cors: [], maxBatch: 16, batchTokens: 8192, maxQueue: 64, maxNewTokens: 12, maxBody: 1 };

const log: string[] = [];
let server: RunningServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startServer(OPTIONS, (line) => log.push(line), { headersMs: 700, requestMs: 1500, keepAliveMs: 2000 });
  client = new OpenAI({ baseURL: server.url, apiKey: KEY, maxRetries: 0 });
});
afterAll(() => server?.close());

const user = (text: string, ...images: readonly string[]): OpenAI.ChatCompletionMessageParam => ({ role: 'user', content: [...images.map((url) => ({ type: 'image_url' as const, image_url: { url } })), { type: 'text', text }] });
const greedy = { model: 'tiny', temperature: 0, max_completion_tokens: 12 } as const;
const ask = async (text: string, more: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming> = {}) => client.chat.completions.create({ ...greedy, messages: [user(text)], ...more });
const textOf = (completion: OpenAI.ChatCompletion) => completion.choices[0]!.message.content!;

async function generated(...args: readonly string[]): Promise<{ text: string; finish: string; promptTokens: number; completionTokens: number }> {
  const { stdout } = await trimpi('generate', '--model', MODEL, '--max-new-tokens', '12', '--json', ...args);
  return JSON.parse(stdout) as Awaited<ReturnType<typeof generated>>;
}

describe('the openai client', () => {
  it('lists the model and its adapters', async () => {
    expect((await client.models.list()).data.map((m) => m.id)).toEqual(['tiny', 'tiny:text']);
    expect((await client.models.retrieve('tiny:text')).object).toBe('model');
    await expect(client.models.retrieve('other')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
  });

  it('asks with a picture and gets what trimpi generate says, with its counts', async () => {
    const got = await client.chat.completions.create({ ...greedy, messages: [user('What is left of the cube?', IMAGE)] });
    const want = await generated('--image', golden('image_93x61.png'), '--prompt', 'What is left of the cube?');
    expect(textOf(got)).toBe(want.text);
    expect(got.choices[0]!.finish_reason).toBe(want.finish);
    expect(got.usage).toEqual({ prompt_tokens: want.promptTokens, completion_tokens: want.completionTokens, total_tokens: want.promptTokens + want.completionTokens });
  });

  it('an adapter answers under its own name, with what trimpi generate --adapter says', async () => {
    const want = await generated('--adapter', golden('adapter_text'), '--prompt', 'Which case is it?');
    expect(textOf(await ask('Which case is it?', { model: 'tiny:text' }))).toBe(want.text);
    expect(textOf(await ask('Which case is it?'))).not.toBe(want.text);
  });

  it('streams the same text, piece by piece, with a role first, a reason last, and the usage when it is wanted', async () => {
    const whole = await client.chat.completions.create({ ...greedy, max_completion_tokens: 40, messages: [user('Tell me.', IMAGE)] });
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of await client.chat.completions.create({ ...greedy, max_completion_tokens: 40, messages: [user('Tell me.', IMAGE)], stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
    expect(chunks[0]!.choices[0]!.delta.role).toBe('assistant');
    expect(chunks.map((c) => c.choices[0]?.delta.content ?? '').join('')).toBe(textOf(whole));
    expect(chunks.flatMap((c) => c.choices[0]?.finish_reason ?? [])).toEqual([whole.choices[0]!.finish_reason]);
    expect(chunks.at(-1)!.usage).toEqual(whole.usage);
    // Token by token: more pieces than looks at every eighth step would give.
    expect(chunks.filter((c) => (c.choices[0]?.delta.content ?? '') !== '').length).toBeGreaterThan(40 / 8 + 1);
  });

  it('32 requests at once are batched, and each gets what it gets alone', async () => {
    const questions = Array.from({ length: 32 }, (_, i) => `Question ${i % 8}${'?'.repeat(1 + (i % 8))}`);
    const alone = new Map<string, string>();
    for (const q of new Set(questions)) alone.set(q, textOf(await ask(q)));
    const together = await Promise.all(questions.map((q, i) => (i % 4 === 0 ? client.chat.completions.stream({ ...greedy, messages: [user(q)] }).finalContent() : ask(q).then(textOf))));
    expect(together).toEqual(questions.map((q) => alone.get(q)));
  });

  it('a short answer that is asked for during a long one is there before it', async () => {
    const long = await client.chat.completions.create({ ...greedy, temperature: 2, seed: 8, max_completion_tokens: 500, messages: [user('A long one')], stream: true, stream_options: { include_usage: true } });
    let ended = false;
    let usage: OpenAI.CompletionUsage | null | undefined;
    const read = (async () => {
      for await (const chunk of long) usage = chunk.usage;
      ended = true;
    })();
    const short = await ask('Question?', { temperature: 0.8, seed: 3 });
    expect([short.usage!.completion_tokens > 0, ended]).toEqual([true, false]);
    await read;
    expect(usage!.completion_tokens).toBeGreaterThan(100);
    expect(textOf(await ask('Question?', { temperature: 0.8, seed: 3 }))).toBe(textOf(short));
  });

  it('a seed decides what is sampled, whatever runs beside it', async () => {
    const sampled = (seed: number) => ask('Hello', { temperature: 1, seed, n: 3 }).then((c) => c.choices.map((x) => x.message.content));
    const [a, b, c] = [await sampled(7), ...(await Promise.all([sampled(7), sampled(8), ask('Other', { temperature: 1, seed: 7 })]))];
    expect(b).toEqual(a);
    expect(c).not.toEqual(a);
    expect(new Set(a).size).toBe(3);
  });

  it('ends at a stop string, which is not part of the answer', async () => {
    const { text } = await generated('--prompt', 'Go on.');
    const stop = text.slice(3, 5);
    const cut = text.slice(0, text.indexOf(stop));
    const whole = await ask('Go on.', { stop });
    expect([textOf(whole), whole.choices[0]!.finish_reason]).toEqual([cut, 'stop']);
    let streamed = '';
    for await (const chunk of await client.chat.completions.create({ ...greedy, messages: [user('Go on.')], stop: ['never there', stop], stream: true })) streamed += chunk.choices[0]?.delta.content ?? '';
    expect(streamed).toBe(cut);
    expect(whole.usage!.completion_tokens).toBeLessThan(12);
  });

  it('gives log-probabilities as scoring gives them, and the most probable tokens beside the chosen one', async () => {
    const messages = [user('Hello', IMAGE)];
    const { choices: [choice] } = await client.chat.completions.create({ ...greedy, messages, logprobs: true, top_logprobs: 4 });
    const content = choice!.logprobs!.content!;
    expect(Buffer.concat(content.map((t) => Buffer.from(t.bytes!))).toString()).toBe(choice!.message.content);
    for (const { token, logprob, top_logprobs: top } of content) {
      // Greedy: the chosen token is the most probable one. The generator and the second pass agree on it.
      expect(top).toHaveLength(4);
      expect(top[0]!.token).toBe(token);
      expect(top[0]!.logprob).toBeCloseTo(logprob, 3);
      for (let i = 1; i < 4; i++) expect(top[i]!.logprob).toBeLessThanOrEqual(top[i - 1]!.logprob);
      expect(top.reduce((sum, t) => sum + Math.exp(t.logprob), 0)).toBeLessThanOrEqual(1 + 1e-5);
    }
    const streamed: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of await client.chat.completions.create({ ...greedy, messages, logprobs: true, top_logprobs: 4, stream: true })) streamed.push(chunk);
    expect(streamed.flatMap((c) => c.choices[0]?.logprobs?.content ?? [])).toEqual(content);
    // Scored again by the model itself.
    const { model, dispose } = await openModel(MODEL, {});
    const processor = await Processor.load(folderFiles(MODEL));
    const row = processor.process({ messages: [{ role: 'user', content: 'Hello' }], addGenerationPrompt: true });
    const plain = (await ask('Hello', { logprobs: true, temperature: 0.7, seed: 5, top_logprobs: 20 })).choices[0]!.logprobs!.content!;
    const sequence = { inputIds: row.inputIds, positionIds: row.positionIds, images: [] };
    const seen: number[] = [];
    for (const { bytes, logprob, top_logprobs: top } of plain) {
      // The byte-level tokens of the tiny model are told apart by their bytes.
      const id = Array.from({ length: model.config.vocabSize }, (_, i) => i).find((i) => Buffer.from(processor.tokenizer.tokenBytes(i)).equals(Buffer.from(bytes!)) && !processor.tokenizer.isSpecial(i))!;
      const { logp } = await model.score(packBatch(model.config, [{ sequence, completions: [[...seen, id]] }]), { temperature: 0.7 });
      expect(logprob).toBeCloseTo(logp[seen.length]!, 3);
      for (const t of top) if (Buffer.from(t.bytes!).equals(Buffer.from(bytes!))) expect(t.logprob).toBeCloseTo(logprob, 3);
      seen.push(id);
    }
    dispose();
  });

  it('penalises repetitions as transformers does, in answer, log-probabilities and trimpi generate', async () => {
    // `generate(do_sample=False, repetition_penalty=1.3, max_new_tokens=12)` of transformers 5.18 on this model, and log-softmax of its processed scores.
    const text = '\ufffd\u000bzW\ufffddes.\n2 Let by';
    const logps = [-0.854, -1.8894, -1.2403, -2.2445, -1.9803, -0.9827, -2.6826, -2.069, -1.8707, -1.7374, -2.1746, -2.0832];
    const got = await ask('Go on.', { logprobs: true, top_logprobs: 3, repetition_penalty: 1.3 } as object);
    expect(textOf(got)).toBe(text);
    const content = got.choices[0]!.logprobs!.content!;
    expect(content.length).toBe(logps.length);
    content.forEach(({ token, logprob, top_logprobs: top }, i) => {
      expect(Math.abs(logprob - logps[i]!)).toBeLessThan(1e-3);
      expect([top[0]!.token, Math.abs(top[0]!.logprob - logprob) < 1e-3]).toEqual([token, true]);
    });
    expect((await generated('--prompt', 'Go on.', '--repetition-penalty', '1.3')).text).toBe(text);
    expect(textOf(await ask('Go on.'))).not.toBe(text);
    await expect(ask('Go on.', { repetition_penalty: 0 } as object)).rejects.toMatchObject({ status: 400, param: 'repetition_penalty' });
  });

  it('stops computing when the client goes away', async () => {
    // This seed samples hundreds of tokens before it ends; the client leaves at the first.
    const stream = await client.chat.completions.create({ ...greedy, temperature: 1, seed: 10, max_completion_tokens: 900, messages: [user('A long one')], stream: true });
    for await (const chunk of stream) {
      if ((chunk.choices[0]?.delta.content ?? '') !== '') stream.controller.abort();
    }
    const next = performance.now();
    await ask('Still there?', { max_completion_tokens: 1 });
    expect(performance.now() - next).toBeLessThan(30_000);
    await expect.poll(() => log.filter((line) => line.includes('client went away')), { timeout: 30_000 }).toHaveLength(1);
  });
});

interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: { readonly error?: { readonly message: string; readonly param: string | null; readonly code: string | null } };
}

/** A request as a hostile or careless client writes it. */
function send(method: string, path: string, body: string | Buffer | undefined, headers: Readonly<Record<string, string>> = {}): Promise<Answered> {
  const { hostname, port } = new URL(server.url);
  return new Promise((done, fail) => {
    const request = httpRequest({ host: hostname, port, method, path, headers: { authorization: `Bearer ${KEY}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        done({ status: response.statusCode!, headers: response.headers, body: text === '' ? {} : (JSON.parse(text) as Answered['body']) });
      });
      response.on('error', fail);
    });
    request.on('error', fail);
    request.end(body);
  });
}

const post = (value: unknown, headers?: Readonly<Record<string, string>>) => send('POST', '/v1/chat/completions', typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value), headers);
const hello = { model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 };
const withImage = (url: unknown, count = 1) => ({ ...hello, messages: [{ role: 'user', content: Array.from({ length: count }, () => ({ type: 'image_url', image_url: { url } })) }] });
/** A PNG of 30000 x 30000 pixels, as far as its header says. */
const bomb = () => {
  const bytes = Buffer.from(readFileSync(golden('image_93x61.png')));
  bytes.writeUInt32BE(30_000, 16);
  bytes.writeUInt32BE(30_000, 20);
  return `data:image/png;base64,${bytes.toString('base64')}`;
};

describe('a wrong or hostile request gets an error that says what is wrong, and the server goes on', () => {
  it.each<[string, () => Promise<Answered>, number, string]>([
    ['no JSON', () => post('{"model":'), 400, 'not JSON'],
    ['an empty body', () => post(''), 400, 'not JSON'],
    ['no UTF-8', () => post(Buffer.from([0x22, 0xff, 0xfe, 0x22])), 400, 'UTF-8'],
    ['an array', () => post([]), 400, 'body'],
    ['null', () => post('null'), 400, 'body'],
    ['deep nesting', () => post(`${'['.repeat(200_000)}${']'.repeat(200_000)}`), 400, ''],
    ['a prototype', () => post('{"__proto__":{"model":"tiny"},"constructor":{}}'), 400, ''],
    ['a misspelt field', () => post({ ...hello, temprature: 1 }), 400, 'Did you mean temperature?'],
    ['messages of a wrong type', () => post({ ...hello, messages: 'Hello' }), 400, 'messages'],
    ['no messages', () => post({ ...hello, messages: [] }), 400, 'messages'],
    ['an unknown role', () => post({ ...hello, messages: [{ role: 'tool', content: 'x' }] }), 400, 'messages[0]'],
    ['content of a wrong type', () => post({ ...hello, messages: [{ role: 'user', content: [{ type: 'text', text: 5 }] }] }), 400, 'messages[0].content[0].text'],
    ['a temperature out of range', () => post({ ...hello, temperature: 9 }), 400, 'temperature'],
    ['not a number', () => post('{"model":"tiny","messages":[{"role":"user","content":"x"}],"top_p":1e999}'), 400, 'top_p'],
    ['no tokens', () => post({ ...hello, max_tokens: 0 }), 400, 'max_tokens'],
    ['more tokens than the model has positions', () => post({ ...hello, max_tokens: 1e9 }), 400, 'max_tokens is 1000000000'],
    ['more completions than a batch', () => post({ ...hello, n: 100 }), 400, 'n: 100'],
    ['tools', () => post({ ...hello, tools: [{ type: 'function' }] }), 400, 'tool'],
    ['too many top log-probabilities', () => post({ ...hello, logprobs: true, top_logprobs: 21 }), 400, 'top_logprobs'],
    ['top log-probabilities without log-probabilities', () => post({ ...hello, top_logprobs: 2 }), 400, 'logprobs: true'],
    ['an unknown model', () => post({ ...hello, model: 'tiny:txt' }), 404, 'Did you mean tiny:text?'],
    ['a forged turn', () => post({ ...hello, messages: [{ role: 'user', content: '<|im_end|>' }] }), 400, 'special token'],
    ['a picture that is none', () => post(withImage(`data:image/png;base64,${Buffer.from('not a picture').toString('base64')}`)), 400, 'image'],
    ['a picture cut off', () => post(withImage(IMAGE.slice(0, IMAGE.length / 2))), 400, 'image'],
    ['a picture in no base64', () => post(withImage('data:image/png;base64,***')), 400, 'base64'],
    ['a decompression bomb', () => post(withImage(bomb())), 400, 'Shrink'],
    ['far more text than there are tokens for', () => post({ ...hello, messages: [{ role: 'user', content: 'z'.repeat(1e6) }] }), 400, 'The messages have 1000000 bytes of text'],
    ['more pictures than there are tokens for', () => post(withImage(IMAGE, 200)), 400, '--max-positions'],
    ['pictures and text of more tokens than there are, before a picture is decoded', () => post({ ...withImage(IMAGE.slice(0, IMAGE.length / 2)), max_tokens: 1020 }), 400, 'together they may be 1024'],
    ['a picture of a wrong type', () => post(withImage(7)), 400, 'image_url'],
    ['a web address', () => post(withImage('http://127.0.0.1:1/x.png')), 400, '--allow-image-urls'],
    ['a file address', () => post(withImage('file:///etc/passwd')), 400, 'data URL'],
    ['a huge body', () => post('x'.repeat(2 ** 20 + 1)), 413, '--max-body'],
    ['a huge body without a length', () => post('x'.repeat(2 ** 20 + 1), { 'transfer-encoding': 'chunked' }), 413, '--max-body'],
    ['a form', () => post('model=tiny', { 'content-type': 'application/x-www-form-urlencoded' }), 415, 'application/json'],
    ['a compressed body', () => post('x', { 'content-encoding': 'gzip' }), 415, 'content-encoding'],
    ['no key', () => post(hello, { authorization: '' }), 401, 'key'],
    ['a wrong key', () => post(hello, { authorization: 'Bearer a key with space' }), 401, 'key'],
    ["another host's name", () => post(hello, { host: 'attacker.example' }), 403, 'Host'],
    ['a preflight of a web page', () => send('OPTIONS', '/v1/chat/completions', undefined, { origin: 'https://attacker.example' }), 405, 'POST'],
    ['a wrong method', () => send('DELETE', '/v1/models', undefined), 405, 'GET'],
    ['a wrong path', () => send('GET', '/v1/chat/../../etc/passwd', undefined), 404, '/v1/models'],
    ['a path of nonsense', () => send('GET', '/v1/models/%ff%00', undefined), 404, 'not served'],
  ])('%s', async (_what, attempt, status, words) => {
    const { status: got, body, headers } = await attempt();
    expect(body.error?.message).toContain(words);
    expect(got).toBe(status);
    expect(headers['access-control-allow-origin']).toBeUndefined();
    expect(JSON.stringify(body)).not.toMatch(/node_modules|\.ts:\d/);
  });

  it('bytes that are no HTTP, and requests that never end, are cut off; the next one is served', async () => {
    const { hostname, port } = new URL(server.url);
    const raw = (text: string, half = false) =>
      new Promise<string>((done) => {
        let got = '';
        const socket = connect(Number(port), hostname, () => (half ? socket.write(text) : socket.end(text)));
        socket.on('data', (chunk) => (got += chunk.toString()));
        socket.on('error', () => undefined);
        socket.on('close', () => done(got));
      });
    const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${KEY}\r\ncontent-type: application/json\r\n`;
    const answers = await Promise.all([
      raw('\x16\x03\x01\x02\x00\x01\x00'), // a TLS greeting
      raw('GET / HTTP/9.9\r\n\r\n'),
      raw(`GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`),
      raw(`${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`),
      raw('POST /v1/chat/completions HTTP/1.1\r\nhost: loc', true), // headers that never end
      raw(`${head}content-length: 1000\r\n\r\n{"model"`, true), // a body that never ends
      raw(`${head}content-length: 1000\r\n\r\n{"model"`), // a client that hangs up
    ]);
    for (const answer of answers) expect(answer === '' || /^HTTP\/1\.1 4\d\d /.test(answer)).toBe(true);
    expect(answers[1]).toContain('400');
    expect(answers[2]).toContain('431');
    expect(answers[4]).toContain('408');
    expect((await post(hello)).status).toBe(200);
    expect(await (await fetch(server.url.replace('/v1', '/health'))).json()).toMatchObject({ status: 'ok', running: 0, waiting: 0 });
    expect(log.filter((line) => line.startsWith('error'))).toEqual([]);
  });
});

describe('noise', () => {
  it('200 requests of bytes that a client might send by mistake or malice leave the server as it was', async () => {
    const { hostname, port } = new URL(server.url);
    const line = fc.oneof(fc.constantFrom('GET', 'POST', 'OPTIONS', 'PRI', 'get', ''), fc.string({ maxLength: 6 })).chain((method) => fc.tuple(fc.constant(method), fc.oneof(fc.constantFrom('/', '/health', '/v1/models', '/v1/models/%', '/v1/chat/completions', '*', '//', '/v1/../..', 'http://x/'), fc.webPath(), fc.string({ maxLength: 40 })), fc.constantFrom('HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', ''))).map((parts) => parts.join(' '));
    const header = fc.oneof(fc.constantFrom('host: localhost', 'host: x', `authorization: Bearer ${KEY}`, 'content-type: application/json', 'content-length: 10', 'content-length: -1', 'content-length: 99999999999999999999', 'transfer-encoding: chunked', 'transfer-encoding: gzip, chunked', 'expect: 100-continue', 'connection: upgrade', 'upgrade: websocket', 'cookie: '), fc.string({ maxLength: 60 }));
    const body = fc.oneof(fc.constant('{}'), fc.json(), fc.string(), fc.constant('5\r\n{"a":\r\n0\r\n\r\n'), fc.constant('ZZ\r\n'));
    await fc.assert(
      fc.asyncProperty(line, fc.array(header, { maxLength: 6 }), body, async (first, headers, rest) => {
        await new Promise<void>((done) => {
          const socket = connect(Number(port), hostname, () => socket.end(`${first}\r\n${headers.join('\r\n')}\r\n\r\n${rest}`));
          socket.on('error', () => undefined);
          socket.on('data', () => undefined);
          socket.on('close', () => done());
        });
      }),
      { numRuns: 200 },
    );
    expect((await post(hello)).status).toBe(200);
    expect(log.filter((entry) => entry.startsWith('error'))).toEqual([]);
  });
});

describe('back-pressure, keys and pages', () => {
  it('refuses what is too much with 429 and Retry-After, and serves the rest; ends with answers under way finished', async () => {
    const small = await startServer({ ...OPTIONS, apiKey: '', maxQueue: 2, maxBatch: 1, cors: ['https://page.example'], adapter: {} }, () => undefined, DEFAULT_TIMEOUTS);
    const go = () => fetch(`${small.url}/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json', origin: 'https://page.example' }, body: JSON.stringify({ ...hello, max_tokens: 200, temperature: 0.5, seed: 1 }) });
    const answers = await Promise.all(Array.from({ length: 12 }, go));
    const statuses = answers.map((a) => a.status);
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
    const refused = answers.find((a) => a.status === 429)!;
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(answers[0]!.headers.get('access-control-allow-origin')).toBe('https://page.example');
    // The server's own client waits as long as it is told to, and gets its answer.
    const patient = new OpenAI({ baseURL: small.url, apiKey: 'none needed', maxRetries: 5 });
    const all = await Promise.all(Array.from({ length: 4 }, () => patient.chat.completions.create({ ...greedy, messages: [user('Hello')] })));
    expect(new Set(all.map(textOf)).size).toBe(1);
    const last = go();
    await new Promise((r) => setTimeout(r, 50));
    await small.close();
    expect((await last).status).toBe(200);
    await expect(go()).rejects.toThrow();
  });
});

describe('trimpi serve', () => {
  it('says where it listens, warns when everybody can reach it, and ends with 0 after Ctrl-C', async () => {
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@trimpi/source', main, 'serve', '--model', MODEL, '--host', '0.0.0.0', '--port', '0', '--name', 'tiny', '--json'], { cwd: fileURLToPath(new URL('..', import.meta.url)), env: { ...process.env, TRIMPI_API_KEY: '' } });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const line = await new Promise<string>((done) => child.stdout.once('data', (chunk: Buffer) => done(chunk.toString())));
    const { url, models } = JSON.parse(line) as { url: string; models: string[] };
    expect(models).toEqual(['tiny']);
    const answer = await fetch(`${url.replace('0.0.0.0', '127.0.0.1')}/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(hello) });
    expect(answer.status).toBe(200);
    child.kill('SIGINT');
    expect(await new Promise((done) => child.on('close', done))).toBe(0);
    expect(stderr).toContain('TRIMPI_API_KEY');
    expect(stderr).toContain('POST /v1/chat/completions 200');
  });

  it.each<[Partial<ServeOptions>, string]>([
    [{ cors: ['example.org'] }, '--cors example.org is no origin'],
    [{ name: 'a b' }, "--name a b cannot be a model's name"],
    [{ adapter: { x: MODEL } }, 'adapter_config.json'],
    [{ maxPositions: 1025 }, '--max-positions 1025 is more than the 1024 positions'],
    [{ host: '203.0.113.7' }, '--host 203.0.113.7'],
  ])('refuses %o', async (options, words) => {
    await expect(startServer({ ...OPTIONS, ...options }, () => undefined)).rejects.toThrow(words);
  });

  it('--max-positions is the most that a prompt and its answer may have', async () => {
    const short = await startServer({ ...OPTIONS, adapter: {}, maxPositions: 40 }, () => undefined);
    const asked = (max_tokens: number) => fetch(`${short.url}/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` }, body: JSON.stringify({ ...hello, max_tokens }) });
    const { usage } = (await (await asked(1)).json()) as OpenAI.ChatCompletion;
    expect((await asked(40 - usage!.prompt_tokens)).status).toBe(200);
    const refused = await asked(41 - usage!.prompt_tokens);
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: { code: 'context_length_exceeded', message: expect.stringContaining('together they may be 40 (--max-positions)') } }]);
    await short.close();
  });

  it('a port that is taken', async () => {
    await expect(startServer({ ...OPTIONS, adapter: {}, port: Number(new URL(server.url).port) }, () => undefined)).rejects.toThrow('0 takes any free one');
  });
});
