import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { BlockList, type AddressInfo } from 'node:net';
import { crc32, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Processor, Tokenizer } from '@trimpi/model';
import { decodeImage, folderFiles } from '@trimpi/model/node';
import type { ChatJob } from '../src/serve/backend.ts';
import { chatServer, DEFAULT_TIMEOUTS } from '../src/serve/http.ts';
import { ApiError } from '../src/serve/api-error.ts';
import { Choice } from '../src/serve/choice.ts';
import { adapterOption } from '../src/serve/command.ts';
import { MAX_REQUEST_PIXELS, privateAddresses, requestPicture } from '../src/serve/image-source.ts';
import { type PictureOptions, Pictures } from '../src/serve/pictures.ts';
import { parseChatRequest } from '../src/serve/request.ts';
import { Room } from '../src/serve/room.ts';
import { type Runner, Scheduler } from '../src/serve/scheduler.ts';
import { golden } from './helpers.ts';

const valid = { model: 'm', messages: [{ role: 'system', content: 's' }, { role: 'user', content: [{ type: 'text', text: 'a' }, { type: 'image_url', image_url: { url: 'data:,' } }] }, { role: 'assistant', content: 'b' }, { role: 'user', content: 'c' }], temperature: 0.5, stop: ['x'], n: 2, seed: 3, stream: true, stream_options: { include_usage: true }, max_tokens: 4, logprobs: true, user: 'u' };

describe('parseChatRequest', () => {
  it('fills in the defaults of the API', () => {
    expect(parseChatRequest('{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[],"frequency_penalty":0,"seed":null}')).toMatchObject({ temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1, n: 1, stream: false, stop: [], seed: undefined, maxTokens: undefined });
    expect(parseChatRequest(JSON.stringify(valid))).toMatchObject({ temperature: 0.5, stop: ['x'], n: 2, seed: 3, stream: true, includeUsage: true, maxTokens: 4 });
  });

  it('whatever is put at whatever place, it answers with a request or with a 400', () => {
    const places = ['model', 'messages', 'messages.0', 'messages.0.role', 'messages.1.content', 'messages.1.content.0', 'messages.1.content.1.image_url', 'messages.1.content.1.image_url.url', 'temperature', 'stop', 'n', 'seed', 'stream', 'stream_options', 'max_tokens', 'tools', 'response_format'];
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.jsonValue(), (place, value) => {
        const request = structuredClone(valid) as unknown as Record<string, unknown>;
        const keys = place.split('.');
        const owner = keys.slice(0, -1).reduce((at, key) => at[key] as Record<string, unknown>, request);
        owner[keys.at(-1)!] = value;
        try {
          expect(parseChatRequest(JSON.stringify(request)).messages.length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(ApiError);
          expect((error as ApiError).status).toBe(400);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('any text', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      expect(() => parseChatRequest(text)).toThrow(ApiError);
    }));
  });
});

/** Letters by code; 0 ends. */
const decode = (tokens: Int32Array) => String.fromCodePoint(...tokens);

describe('Choice', () => {
  const letters = fc.array(fc.constantFrom(97, 98, 99), { maxLength: 20 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), { maxLength: 3 });

  it('the text, its end and its count do not depend on how many tokens come at once, and the pieces make the text', () => {
    fc.assert(
      fc.property(letters, stops, fc.integer({ min: 1, max: 25 }), fc.boolean(), fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1 }), (body, stop, maxTokens, ends, strides) => {
        const all = Int32Array.from(ends ? [...body, 0] : body);
        const feed = (steps: readonly number[]) => {
          let streamed = '';
          const choice = new Choice({ decode, maxTokens, stop, onPiece: (piece) => (streamed += piece.text) });
          for (const n of [...steps, all.length]) choice.update(all.subarray(0, n), new Float32Array(n), ends && n === all.length);
          return { text: choice.text, finish: choice.finish, tokens: choice.completionTokens, streamed };
        };
        let at = 0;
        const ragged = feed(strides.map((s) => Math.min((at += s), all.length)));
        expect(ragged).toEqual(feed([]));
        // From the definition: the text ends before the first stop string, after so many tokens.
        const text = String.fromCodePoint(...body.slice(0, maxTokens));
        const stopped = stop.flatMap((s) => (text.includes(s) ? [text.indexOf(s) + s.length] : []));
        const seen = Math.min(...stopped, text.length);
        const cut = Math.min(text.length, ...stop.flatMap((s) => (text.slice(0, seen).includes(s) ? [text.indexOf(s)] : [])));
        expect(ragged.text).toBe(text.slice(0, cut));
        if (ragged.finish !== undefined) expect(ragged.streamed).toBe(ragged.text);
      }),
    );
  });

  it('holds half a character and the beginning of a stop string back', () => {
    const pieces: string[] = [];
    const texts = ['a', 'aE', 'aEN', 'aENx', 'aENx\uFFFD', 'aENx\u00e9', 'aENx\u00e9END'];
    const choice = new Choice({ decode: (tokens) => texts[tokens.length - 1]!, maxTokens: 99, stop: ['END'], onPiece: ({ text }) => pieces.push(text) });
    for (let n = 1; n <= texts.length; n++) choice.update(new Int32Array(n), new Float32Array(n), false);
    expect(pieces.filter((p) => p !== '')).toEqual(['a', 'ENx', '\u00e9']);
    expect([choice.text, choice.finish, choice.completionTokens]).toEqual(['aENx\u00e9', 'stop', 7]);
  });
});

describe('Scheduler', () => {
  const never = new AbortController().signal;
  const job = (name: string, steps: number, signal = never) => ({ name, steps, signal, choices: [new Choice({ decode: (t) => 'x'.repeat(t.length), maxTokens: steps, stop: [], onPiece: () => undefined })] });
  type TestJob = ReturnType<typeof job>;
  /** Has room for `rows` jobs, and gives each a token a step; what happened is in `log`. */
  const runner = (rows: number, more: Partial<Runner<TestJob>> = {}) => {
    const log: string[] = [];
    const under = new Map<TestJob, number>();
    const base: Runner<TestJob> = {
      begin: async (jobs) => {
        const some = jobs.slice(0, rows - under.size);
        for (const j of some) under.set(j, 0);
        if (some.length > 0) log.push(`+${some.map((j) => j.name).join('')}`);
        return some.length;
      },
      step: async () => {
        await new Promise((r) => setTimeout(r, 2));
        for (const [j, n] of under) {
          under.set(j, n + 1);
          j.choices[0]!.update(new Int32Array(n + 1), new Float32Array(n + 1), false);
        }
      },
      end: async (j) => {
        under.delete(j);
        log.push(`-${j.name}`);
      },
      reset: () => under.clear(),
    };
    return { log, runner: { ...base, ...more }, base };
  };
  const scheduled = (r: Runner<TestJob>, onError: (error: unknown) => void = () => undefined) => {
    const scheduler = new Scheduler<TestJob>({ runner: r, maxQueue: 99, maxRows: 2, maxHeld: 10, onError });
    const until = async (running: number) => {
      while (scheduler.running !== running) await new Promise((done) => setTimeout(done, 1));
    };
    return { scheduler, until, submit: (j: TestJob) => scheduler.submit(j, scheduler.enter()) };
  };

  it('what arrives joins what runs and ends when it is done; who finds no room waits, oldest first', async () => {
    const { log, runner: r } = runner(2);
    const { scheduler, submit, until } = scheduled(r);
    const long = submit(job('l', 100));
    await until(1);
    expect(scheduler.waiting).toBe(0);
    const short = ['a', 'b', 'c'].map((name) => submit(job(name, 3)));
    await Promise.all(short);
    expect(scheduler.running).toBe(1);
    await long;
    expect(log).toEqual(['+l', '+a', '-a', '+b', '-b', '+c', '-c', '-l']);
    expect([scheduler.waiting, scheduler.running]).toEqual([0, 0]);
  });

  it('a job at fault fails alone; the others get their answer', async () => {
    const errors: unknown[] = [];
    const bad = job('bad', 1);
    const { base } = runner(9);
    const { submit } = scheduled({ ...base, begin: async (jobs) => {
      if (jobs.includes(bad)) throw new Error('bad');
      return base.begin(jobs);
    } }, (e) => errors.push(e));
    const results = await Promise.allSettled([job('a', 2), bad, job('c', 2)].map(submit));
    expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(errors).toHaveLength(1);
  });

  it('a step that fails ends what runs with its error; what comes next is served', async () => {
    const errors: unknown[] = [];
    const { base } = runner(1);
    let broken = true;
    const { scheduler, submit } = scheduled({ ...base, step: async () => {
      if (broken) throw new Error('lost');
      return base.step();
    }, reset: () => {
      broken = false;
      base.reset();
    } }, (e) => errors.push(e));
    const results = await Promise.allSettled([submit(job('a', 2)), submit(job('b', 2))]);
    expect(results.map((r) => r.status)).toEqual(['rejected', 'fulfilled']);
    expect([errors.length, scheduler.failing]).toEqual([1, false]);
  });

  it('a job that no room is large enough for fails, and does not hold up the others', async () => {
    const { base } = runner(2);
    const huge = job('huge', 1);
    const { submit } = scheduled({ ...base, begin: async (jobs) => (jobs[0] === huge ? 0 : base.begin(jobs)) });
    const results = await Promise.allSettled([submit(huge), submit(job('b', 2))]);
    expect(results.map((r) => r.status)).toEqual(['rejected', 'fulfilled']);
  });

  it('a job whose client has gone is not begun, or gives up its room while the others go on', async () => {
    const clients = [new AbortController(), new AbortController()];
    const { log, runner: r } = runner(2);
    const { submit, until } = scheduled(r);
    const others = [submit(job('a', 200))];
    const gone = [submit(job('g', 1000, clients[0]!.signal)), submit(job('h', 1, clients[1]!.signal))].map((p) => p.catch((e: unknown) => e));
    await until(2);
    clients[1]!.abort();
    clients[0]!.abort();
    for (const error of await Promise.all(gone)) expect(error).toMatchObject({ status: 499 });
    others.push(submit(job('b', 2)));
    await Promise.all(others);
    expect(log).toEqual(['+ag', '-g', '+b', '-b', '-a']);
  });

  it('pictures of those that wait are held up to the limit: the next one is told when one of them runs, has gone, or was refused', async () => {
    const { runner: r } = runner(1);
    const { scheduler, until } = scheduled(r);
    const [gone, held] = [new AbortController(), [] as string[]];
    const ask = async (name: string, tokens: number, signal = never) => {
      const place = scheduler.enter();
      try {
        await place.hold(tokens, signal);
        held.push(name);
        await scheduler.submit(job(name, 20, signal), place);
      } finally {
        place.leave();
      }
    };
    const runs = ask('a', 10);
    await until(1);
    // `a` runs and holds nothing; `b` is more than all there is, and has it alone; the rest wait, in their order.
    const big = ask('b', 99);
    const leaves = ask('c', 6, gone.signal).catch((e: unknown) => e);
    const last = [ask('d', 5), ask('e', 5)];
    const late = scheduler.enter();
    expect(held).toEqual(['a']);
    await new Promise((done) => setTimeout(done, 1));
    expect(held).toEqual(['a', 'b']);
    gone.abort();
    expect(await leaves).toMatchObject({ status: 499 });
    await Promise.all([runs, big, ...last]);
    expect(held).toEqual(['a', 'b', 'd', 'e']);

    const first = scheduler.enter();
    await first.hold(10, never);
    const refused = late.hold(1, never).catch((e: unknown) => e);
    await scheduler.close();
    expect(await refused).toMatchObject({ status: 503 });
    await expect(first.hold(1, never)).rejects.toMatchObject({ status: 503 });
  });
});

it('a room never holds more than its size, takes in order, and is empty when all is given back', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 20 }), fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.constantFrom('keep', 'abort', 'twice')), { maxLength: 20 }), async (size, wishes) => {
      const room = new Room(size);
      const [order, backs]: [number[], (() => void)[]] = [[], []];
      let taken = 0;
      const all = wishes.map(async ([amount, how], i) => {
        const client = new AbortController();
        const taking = room.take(amount, client.signal);
        if (how === 'abort') client.abort(new Error('gone'));
        const back = await taking;
        taken += Math.min(amount, size);
        expect(taken).toBeLessThanOrEqual(size);
        order.push(i);
        backs.push(() => {
          taken -= Math.min(amount, size);
          back();
          if (how === 'twice') back();
        });
      });
      const done = Promise.allSettled(all);
      while (order.length < wishes.length) {
        await new Promise((next) => setImmediate(next));
        const back = backs.shift();
        if (back === undefined) break;
        back();
      }
      for (const [i, { status }] of (await done).entries()) expect(status === 'fulfilled' || wishes[i]![1] === 'abort').toBe(true);
      expect(order).toEqual(order.toSorted((a, b) => a - b));
      for (const back of backs) back();
      await room.take(size, AbortSignal.timeout(1000));
    }),
    { numRuns: 50 },
  );
});

describe('pictures in data URLs', () => {
  const rules = { allowUrls: false, maxBytes: 50_000, timeoutMs: 300, blocked: new BlockList() };
  const whole = readFileSync(golden('image_93x61.png'));

  it('damaged in any way are decoded or refused by name', async () => {
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), fc.option(fc.nat(whole.length)), fc.constantFrom('png', 'jpeg', 'svg+xml'), async (changes, cut, type) => {
        const bytes = Buffer.from(whole);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          const picture = await requestPicture(`data:image/${type};base64,${bytes.subarray(0, cut ?? undefined).toString('base64')}`, 'p', rules, new AbortController().signal);
          const image = await decodeImage(picture.bytes);
          expect([image.width, image.height, image.data.length]).toEqual([picture.width, picture.height, image.width * image.height * (image.channels ?? 3)]);
        } catch (error) {
          refused++;
          expect(['ApiError', 'ModelError']).toContain((error as Error).name);
        }
      }),
      { numRuns: 150 },
    );
    expect(refused).toBeGreaterThan(50);
  });

  it('an SVG is no picture here: it could name files and addresses', async () => {
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>`;
    await expect(requestPicture(`data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}`, 'p', rules, new AbortController().signal)).rejects.toThrow(/PNG/);
  });
});

describe('all pictures of a request', () => {
  const rules = { allowUrls: false, maxBytes: 50_000, timeoutMs: 300, blocked: new BlockList() };
  const open = async (more: Partial<PictureOptions> = {}) => new Pictures({ processor: await Processor.load(folderFiles(golden('model'))), rules, limit: { tokens: 1000, option: '--max-positions' }, ...more });
  const signal = new AbortController().signal;
  const parts = (url: string, count: number) => Array.from({ length: count }, (_, i) => ({ url, param: `p${i}` }));
  const image = `data:image/png;base64,${readFileSync(golden('image_93x61.png')).toString('base64')}`;
  /** Black and of one bit a pixel: 16.8 million pixels in two thousand bytes. */
  const black = (width: number, height: number) => {
    const chunk = (type: string, data: Buffer) => {
      const body = Buffer.concat([Buffer.from(type), data]);
      const ends = Buffer.alloc(8);
      ends.writeUInt32BE(data.length, 0);
      ends.writeUInt32BE(crc32(body), 4);
      return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
    };
    const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    const rows = deflateSync(Buffer.alloc(height * (1 + Math.ceil(width / 8))), { level: 9 });
    return `data:image/png;base64,${Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]).toString('base64')}`;
  };

  it('are what the processor makes of them', async () => {
    const pictures = await open();
    const processor = await Processor.load(folderFiles(golden('model')));
    const counted = await pictures.count(parts(image, 2), signal);
    const raw = await decodeImage(readFileSync(golden('image_93x61.png')));
    const messages = [{ role: 'user', content: [{ type: 'image' as const }, { type: 'image' as const }] }];
    const want = processor.process({ messages, images: [raw, raw] });
    expect(processor.encode({ messages, imageGridThw: counted.map((c) => c.gridThw) }).inputIds).toEqual(want.inputIds);
    const decoded = await pictures.decode(counted, signal);
    expect(decoded.map((d) => d.gridThw)).toEqual(want.imageGridThw);
    expect(decoded.flatMap((d) => [...d.pixelValues])).toEqual([...want.pixelValues]);
  });

  it('may have so many pixels together, and are counted without being decoded', async () => {
    const huge = black(4096, 4096);
    expect(huge.length).toBeLessThan(4000);
    const pictures = await open({ limit: { tokens: 1e9, option: '--max-positions' } });
    expect(await pictures.count(parts(huge, MAX_REQUEST_PIXELS / 4096 ** 2), signal)).toHaveLength(4);
    await expect(pictures.count(parts(huge, 3000), signal)).rejects.toMatchObject({ status: 400, body: { error: { param: 'p4', code: 'image_too_large', message: expect.stringContaining(`more than the ${MAX_REQUEST_PIXELS}`) } } });
  });

  it('may take so many tokens together', async () => {
    const pictures = await open();
    const [one] = await pictures.count(parts(image, 1), signal);
    const fit = Math.floor(1000 / (one!.gridThw.reduce((a, b) => a * b) / 4));
    expect(await pictures.count(parts(image, fit), signal)).toHaveLength(fit);
    await expect(pictures.count(parts(image, 5000), signal)).rejects.toMatchObject({ status: 400, body: { error: { param: `p${fit}`, code: 'context_length_exceeded', message: expect.stringContaining('the 1000 that a prompt and its answer may have (--max-positions)') } } });
  });

  it('are left alone when the client has gone, between one and the next', async () => {
    const gone = new AbortController();
    const pictures = await open();
    const counted = await pictures.count(parts(image, 3), gone.signal);
    // Another request's turn comes first, and its client stays.
    const [other, mine] = [pictures.decode(counted, signal), pictures.decode(counted, gone.signal).catch(String)];
    gone.abort();
    expect(await other).toHaveLength(3);
    expect(await mine).toContain('went away');
    await expect(pictures.count(parts(image, 1), gone.signal)).rejects.toThrow('went away');
  });
});

describe('pictures from the web', () => {
  let web: Server;
  let base = '';
  beforeAll(async () => {
    web = createServer((request, response) => {
      if (request.url === '/ok.png') response.end(readFileSync(golden('image_93x61.png')));
      else if (request.url === '/away') response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
      else if (request.url === '/slow') response.write('x');
      else response.end(Buffer.alloc(100_000));
    });
    await new Promise<void>((done) => web.listen(0, '127.0.0.1', done));
    base = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  });
  afterAll(() => void web.close());
  const rules = { allowUrls: true, maxBytes: 50_000, timeoutMs: 300, blocked: new BlockList() };
  const signal = new AbortController().signal;

  it('are fetched when that is allowed', async () => {
    expect(await requestPicture(`${base}/ok.png`, 'p', rules, signal)).toMatchObject({ width: 93, height: 61 });
  });

  it('may have so many bytes together', async () => {
    const length = readFileSync(golden('image_93x61.png')).byteLength;
    const processor = await Processor.load(folderFiles(golden('model')));
    const pictures = new Pictures({ processor, rules: { ...rules, maxBytes: 2 * length }, limit: { tokens: 1000, option: '--max-positions' } });
    const parts = (count: number) => Array.from({ length: count }, (_, i) => ({ url: `${base}/ok.png`, param: `p${i}` }));
    expect(await pictures.count(parts(2), signal)).toHaveLength(2);
    await expect(pictures.count(parts(3), signal)).rejects.toThrow(`p2: the pictures fetched for this request have more than ${2 * length} bytes together (--max-body)`);
  });

  it.each([
    ['of this machine', '/ok.png', { blocked: privateAddresses() }, "own networks"],
    ['that lead elsewhere', '/away', {}, '302'],
    ['that are too large', '/big', {}, 'more than 50000'],
    ['that take too long', '/slow', {}, 'p:'],
  ])('are refused %s', async (_what, path, own, words) => {
    await expect(requestPicture(`${base}${path}`, 'p', { ...rules, ...own }, signal)).rejects.toThrow(words);
  });

  it.each(['10.1.2.3', '172.16.0.1', '192.168.1.1', '169.254.169.254', '127.0.0.53', '0.0.0.0', '::1', 'fe80::1', 'fd00::1', '::ffff:127.0.0.1'])('%s is private', (address) => {
    expect(privateAddresses().check(address, address.includes(':') ? 'ipv6' : 'ipv4')).toBe(true);
  });
  it.each(['93.184.215.14', '172.15.0.1', '2606:2800::1'])('%s is not', (address) => {
    expect(privateAddresses().check(address, address.includes(':') ? 'ipv6' : 'ipv4')).toBe(false);
  });
});

it('--adapter takes NAME=FOLDER or a folder', () => {
  expect(adapterOption('b=x/y', adapterOption('runs/mine/a'))).toEqual({ a: 'runs/mine/a', b: 'x/y' });
  expect(() => adapterOption('a=z', { a: 'x' })).toThrow('there already');
  expect(() => adapterOption('a=')).toThrow('NAME=FOLDER');
  expect(() => adapterOption('a b=x')).toThrow('NAME=FOLDER');
});

describe('a model that fails', () => {
  it('is a 500 without details, an error in a stream that has begun, and a 503 of /health until it works again', async () => {
    let broken = true;
    const log: string[] = [];
    const running: ChatJob[] = [];
    const scheduler = new Scheduler<ChatJob>({
      runner: {
        begin: async (jobs) => {
          running.push(...jobs);
          return jobs.length;
        },
        step: async () => {
          const n = running[0]!.choices[0]!.completionTokens + 1;
          if (broken && n > 1) throw new Error('the device at /secret/path is lost');
          for (const { choices } of running) for (const choice of choices) choice.update(Int32Array.of(40, 41).subarray(0, n), new Float32Array(n).fill(-1), false);
        },
        end: async (job) => void running.splice(running.indexOf(job), 1),
        reset: () => void running.splice(0),
      },
      maxQueue: 9, maxRows: 9, maxHeld: 9, onError: (e) => log.push(String(e)),
    });
    const server = chatServer({
      backend: {
        models: ['m'],
        prepare: async (request, _place, onPiece, signal) => ({
          request, signal, prompt: { inputIds: [], positionIds: [], images: [] }, promptTokens: 1, maxTokens: 2, adapter: undefined,
          choices: [new Choice({ decode: (t) => 'ab'.slice(0, t.length), maxTokens: 2, stop: [], onPiece: (piece) => onPiece(0, piece) })],
        }),
      },
      scheduler, tokenizer: await Tokenizer.load(folderFiles(golden('model'))), apiKey: undefined, cors: [], hosts: undefined, maxBodyBytes: 1000, timeouts: DEFAULT_TIMEOUTS, log: () => undefined,
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const ask = (stream: boolean) => fetch(`${base}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x' }], stream }) });
    const failed = await ask(false);
    expect(failed.status).toBe(500);
    expect(await failed.text()).not.toContain('secret');
    const stream = await ask(true);
    expect(stream.status).toBe(200);
    const events = await stream.text();
    expect(events).toContain('"content":"a"');
    expect(events).toContain('"error":{');
    expect(events).not.toMatch(/secret|DONE/);
    expect(log[0]).toContain('secret');
    expect((await fetch(`${base}/health`)).status).toBe(503);
    broken = false;
    expect(await (await ask(false)).json()).toMatchObject({ choices: [{ message: { content: 'ab' }, finish_reason: 'length' }], usage: { completion_tokens: 2 } });
    expect((await fetch(`${base}/health`)).status).toBe(200);
    server.closeAllConnections();
    server.close();
  });
});
