import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { goldenBytes } from '../../test/golden.ts';
import { listen, rangeOf, sendFile, type Loopback } from '../../test/loopback.ts';
import { openCheckpoint } from '../safetensors/checkpoint.ts';
import { SafetensorsFile } from '../safetensors/reader.ts';
import { httpFiles, httpSource, streamFile } from './http-source.ts';

const content = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 31 + (i >> 8)) % 256);
const model = goldenBytes('model/model.safetensors');
const quick = { retryDelay: 1, timeout: 150 };

let server: Loopback;
let other: Loopback;
const seen = new Map<string, number>();

/** How often a path was asked for before. */
function times(path: string): number {
  const count = seen.get(path) ?? 0;
  seen.set(path, count + 1);
  return count;
}

beforeAll(async () => {
  other = await listen((request, response, at) => sendFile(request, response, at, content));
  server = await listen((request, response, at) => {
    const path = request.url ?? '';
    switch (path.split('?')[0]) {
      case '/ok': return sendFile(request, response, at, content);
      case '/empty': return sendFile(request, response, at, new Uint8Array(0));
      case '/redirect': return void response.writeHead(302, { location: '/again' }).end();
      case '/again': return void response.writeHead(307, { location: `${other.url}/signed?x=1` }).end();
      case '/loop': return void response.writeHead(302, { location: '/loop' }).end();
      case '/whole': return sendFile(request, response, at, content, { whole: true });
      // Passes over what was not asked for, and breaks off before what was; at last it is gone.
      case '/whole-broken': return times(path) < 20 ? sendFile(request, response, at, content, { whole: true, breakAfter: 30_000 }) : void response.writeHead(404).end();
      case '/broken': return sendFile(request, response, at, content, { breakAfter: 30_000 });
      case '/stalling': return sendFile(request, response, at, content, times(path) % 2 === 1 ? { stallAfter: 20_000 } : {});
      case '/slow': {
        const range = rangeOf(request, content.byteLength);
        if (range === undefined || range === null) return void response.writeHead(400).end();
        const body = content.subarray(range.from, range.to + 1);
        response.writeHead(206, { etag: '"1"', 'content-range': `bytes ${range.from}-${range.to}/${content.byteLength}` });
        const step = Math.ceil(body.byteLength / 6);
        let sent = 0;
        const timer = setInterval(() => {
          response.write(body.subarray(sent, sent + step));
          sent += step;
          if (sent < body.byteLength) return;
          clearInterval(timer);
          response.end();
        }, 60);
        return;
      }
      case '/dead': return void request.socket.destroy();
      case '/silent': return;
      case '/busy': return times(path) < 2 ? void response.writeHead(503, { 'retry-after': '0' }).end('wait') : sendFile(request, response, at, content);
      case '/changing': return sendFile(request, response, at, content, { etag: `"${times(path)}"` });
      case '/wrong-range': {
        const from = times(path) === 0 ? 0 : 5;
        response.writeHead(206, { etag: '"1"', 'content-range': `bytes ${from}-9/100` }).end('0123456789');
        return;
      }
      case '/sizeless': return void response.writeHead(200, { 'transfer-encoding': 'chunked' }).end('abc');
      case '/secret': return void response.writeHead(403).end();
      case '/model.safetensors': return sendFile(request, response, at, model);
      default: return void response.writeHead(404).end();
    }
  });
});
afterAll(async () => {
  await server.close();
  await other.close();
});

describe('httpSource', () => {
  it('reads ranges and transfers only them', async () => {
    const source = httpSource(`${server.url}/ok`, quick);
    expect(await source.size()).toBe(100_000);
    const before = server.sent;
    expect(await source.read(50_000, 1000)).toEqual(content.slice(50_000, 51_000));
    expect(server.sent - before).toBe(1000);
    expect(await source.read(99_999, 1)).toEqual(content.slice(99_999));
    expect(await source.read(5, 0)).toHaveLength(0);
    await expect(source.read(99_999, 2)).rejects.toMatchObject({ code: 'io' });
    expect(await httpSource(`${server.url}/empty`, quick).size()).toBe(0);
  });

  it('follows redirects to another host, and does not take the token there', async () => {
    const source = httpSource(`${server.url}/redirect`, { ...quick, headers: { authorization: 'Bearer hf_x' } });
    expect(await source.read(10, 100)).toEqual(content.slice(10, 110));
    expect(server.tokens).toContain('Bearer hf_x');
    expect(other.tokens).toEqual([]);
    await expect(httpSource(`${server.url}/loop`, { ...quick, retries: 1 }).size()).rejects.toMatchObject({ code: 'io' });
  });

  it('reads from a server that knows no ranges', async () => {
    const source = httpSource(`${server.url}/whole`, quick);
    expect(await source.size()).toBe(100_000);
    expect(await source.read(40_000, 20_000)).toEqual(content.slice(40_000, 60_000));
  });

  it('goes on where a connection broke or fell silent', async () => {
    const before = server.sent;
    expect(Buffer.compare(await httpSource(`${server.url}/broken`, quick).read(0, 100_000), content)).toBe(0);
    // Four connections of 30,000 bytes at most, and one byte for the size: nothing was sent twice.
    expect(server.sent - before).toBe(100_001);
    expect(Buffer.compare(await httpSource(`${server.url}/stalling`, quick).read(0, 100_000), content)).toBe(0);
  });

  it('gives up where a server never gets to the range', async () => {
    const source = httpSource(`${server.url}/whole-broken`, { ...quick, retries: 2 });
    await expect(source.read(40_000, 20_000)).rejects.toThrow(/could not be read after 3 attempts/);
    // What comes before the break is there.
    expect(await source.read(10_000, 10_000)).toEqual(content.slice(10_000, 20_000));
  });

  it('ends with the error of who takes the bytes, and asks for none again', async () => {
    const full = new Error('ENOSPC: no space left on device, write');
    const before = server.requests.length;
    let chunks = 0;
    const stream = streamFile(`${server.url}/ok`, 0, quick, () => {
      if (chunks++ < 20) throw full;
    });
    await expect(stream).rejects.toBe(full);
    expect([chunks, server.requests.length - before]).toEqual([1, 2]);
  });

  it('waits for a slow connection as long as bytes come', async () => {
    const asked = (): number => server.requests.filter((request) => request.startsWith('GET /slow')).length;
    // Six pieces, each well inside of the timeout, all of them well outside.
    expect(Buffer.compare(await httpSource(`${server.url}/slow`, { ...quick, timeout: 250 }).read(0, 60_000), content.subarray(0, 60_000))).toBe(0);
    expect(asked()).toBe(2);
  });

  it('waits for a busy server, and gives up on a dead one', async () => {
    expect(await httpSource(`${server.url}/busy`, quick).size()).toBe(100_000);
    await expect(httpSource(`${server.url}/dead`, { ...quick, retries: 2 }).size()).rejects.toThrow(/after 3 attempts/);
    await expect(httpSource(`${server.url}/silent`, { ...quick, timeout: 30, retries: 1 }).size()).rejects.toThrow(/no byte in 30 ms/);
    await expect(httpSource('http://127.0.0.1:1/x', { ...quick, retries: 0 }).size()).rejects.toMatchObject({ code: 'io' });
  });

  it('refuses a file that changes, a wrong range, an unknown size, a refusal', async () => {
    const source = httpSource(`${server.url}/changing`, quick);
    await expect(source.read(0, 10)).rejects.toThrow(/changed on the server/);
    await expect(httpSource(`${server.url}/wrong-range`, quick).read(0, 10)).rejects.toThrow(/another range/);
    await expect(httpSource(`${server.url}/sizeless`, quick).size()).rejects.toThrow(/how large/);
    await expect(httpSource(`${server.url}/secret`, quick).size()).rejects.toThrow(/access token/);
    await expect(httpSource(`${server.url}/nothing`, quick).size()).rejects.toMatchObject({ code: 'not-found' });
  });

  it('stops when it is told to', async () => {
    await expect(httpSource(`${server.url}/ok`, { signal: AbortSignal.abort() }).size()).rejects.toMatchObject({ code: 'aborted' });
    const controller = new AbortController();
    const read = httpSource(`${server.url}/silent`, { timeout: 10_000, signal: controller.signal }).size();
    setTimeout(() => controller.abort(), 20);
    await expect(read).rejects.toMatchObject({ code: 'aborted' });
    const waiting = new AbortController();
    const retry = httpSource(`${server.url}/dead`, { retryDelay: 60_000, signal: waiting.signal }).size();
    setTimeout(() => waiting.abort(), 20);
    await expect(retry).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('httpFiles', () => {
  it('opens a checkpoint by range', async () => {
    const before = server.sent;
    const checkpoint = await openCheckpoint(httpFiles(server.url, quick));
    expect(await checkpoint.readFloat32('model.language_model.norm.weight')).toHaveLength(64);
    expect(server.sent - before).toBeLessThan(10_000);
    expect(await httpFiles(`${server.url}/`, quick).open('nothing')).toBeNull();
    await expect(SafetensorsFile.open(httpSource(`${server.url}/ok`, quick))).rejects.toMatchObject({ code: 'invalid-safetensors' });
  });
});
