import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { goldenBytes, goldenJson, goldenPath, goldenTensors } from '../../test/golden.ts';
import { listen, sendFile, type Loopback } from '../../test/loopback.ts';
import { parseConfig } from '../config.ts';
import { hubFiles, listHubFiles } from '../files/hub-files.ts';
import { requireText } from '../files/model-files.ts';
import { readAdapter } from '../lora/peft-files.ts';
import { Processor } from '../processor.ts';
import { openCheckpoint, type Checkpoint } from '../safetensors/checkpoint.ts';
import { floatTensor } from '../safetensors/writer.ts';
import { writeBeside, writeFileAtomic } from './atomic-write.ts';
import { downloadFile } from './download.ts';
import { downloadModel } from './download-model.ts';
import { fileSource, folderFiles } from './file-source.ts';
import { saveAdapter, saveCheckpoint } from './save.ts';
import type { LazyTensor } from '../safetensors/writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'trimpi-model-'));
afterEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true }));

const config = parseConfig(goldenJson('model/config.json'));
const golden = folderFiles(goldenPath('model/'));

function lazy(checkpoint: Checkpoint): Map<string, LazyTensor> {
  return new Map(checkpoint.names.map((name) => [name, { dtype: checkpoint.info(name).dtype, shape: checkpoint.info(name).shape, read: () => checkpoint.readBytes(name) }]));
}

describe('files on disk', () => {
  it('are read by range; missing ones are missing', async () => {
    const source = fileSource(goldenPath('model/model.safetensors'));
    const bytes = goldenBytes('model/model.safetensors');
    expect(await source.size()).toBe(bytes.length);
    expect(await source.read(1000, 50)).toEqual(bytes.slice(1000, 1050));
    await expect(source.read(bytes.length, 1)).rejects.toMatchObject({ code: 'io' });
    await expect(fileSource(join(folder, 'no')).size()).rejects.toMatchObject({ code: 'not-found' });
    expect(await golden.open('no')).toBeNull();
    expect((await Processor.load(golden)).tokenizer.vocabSize).toBe(512);
  });

  it('are written wholly or not at all', async () => {
    const path = join(folder, 'a');
    await writeFileAtomic(path, 'old');
    await expect(writeBeside(path, (function* () {
      yield new Uint8Array(10);
      throw new Error('the source failed');
    })())).rejects.toMatchObject({ code: 'io' });
    expect(readFileSync(path, 'utf8')).toBe('old');
    const pending = await writeBeside(path, [Uint8Array.of(1)]);
    expect(readFileSync(path, 'utf8')).toBe('old');
    await pending.discard();
    expect(readdirSync(folder)).toEqual(['a']);
    await expect(writeFileAtomic(join(folder, 'no', 'b'), 'x')).rejects.toMatchObject({ code: 'io' });
  });

  it('a full disk is a clear error, and leaves nothing', async () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    await expect(writeBeside(join(folder, 'a'), (function* () {
      yield new Uint8Array(1);
      throw full;
    })())).rejects.toThrow(/Make room on the disk/);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('saveCheckpoint', () => {
  it('writes the published file again, bit by bit', async () => {
    await saveCheckpoint(folder, config, lazy(await openCheckpoint(golden)));
    expect(Buffer.compare(readFileSync(join(folder, 'model.safetensors')), goldenBytes('model/model.safetensors'))).toBe(0);
    expect(parseConfig(JSON.parse(await requireText(folderFiles(folder), 'config.json')))).toEqual(config);
  });

  it('writes shards with an index, and cleans up after older saves', async () => {
    const original = await openCheckpoint(golden);
    await saveCheckpoint(folder, config, lazy(original), { maxShardBytes: 300_000 });
    const names = readdirSync(folder);
    expect(names.toSorted()).toEqual(['config.json', 'model-00001-of-00003.safetensors', 'model-00002-of-00003.safetensors', 'model-00003-of-00003.safetensors', 'model.safetensors.index.json']);
    const index = JSON.parse(readFileSync(join(folder, 'model.safetensors.index.json'), 'utf8')) as { metadata: { total_size: number }; weight_map: Record<string, string> };
    expect(index.metadata.total_size).toBe(goldenBytes('model/model.safetensors').length - 8 - 6672);
    expect(Object.keys(index.weight_map)).toContain('visual.patch_embed.proj.weight');
    const again = await openCheckpoint(folderFiles(folder));
    for (const name of original.names) expect(Buffer.compare(await again.readBytes(name), await original.readBytes(name)), name).toBe(0);
    await saveCheckpoint(folder, config, lazy(original));
    expect(readdirSync(folder).toSorted()).toEqual(['config.json', 'model.safetensors']);
  });

  it('leaves the old checkpoint alone when a tensor cannot be read', async () => {
    const tensors = lazy(await openCheckpoint(golden));
    await saveCheckpoint(folder, config, tensors);
    tensors.set('model.visual.merger.mlp.2.weight', { dtype: 'F32', shape: [2], read: () => Promise.reject(new Error('lost device')) });
    await expect(saveCheckpoint(folder, config, tensors)).rejects.toMatchObject({ code: 'io' });
    tensors.set('model.visual.merger.mlp.2.weight', { dtype: 'F32', shape: [2], read: () => new Uint8Array(4) });
    await expect(saveCheckpoint(folder, config, tensors, { maxShardBytes: 1000 })).rejects.toMatchObject({ code: 'invalid-input' });
    expect(readdirSync(folder).toSorted()).toEqual(['config.json', 'model.safetensors']);
    expect(Buffer.compare(readFileSync(join(folder, 'model.safetensors')), goldenBytes('model/model.safetensors'))).toBe(0);
  });

  it('leaves a save in shards alone, and nothing behind, when a finished file cannot take its place', async () => {
    const original = await openCheckpoint(golden);
    await saveCheckpoint(folder, config, lazy(original), { maxShardBytes: 300_000 });
    const before = readdirSync(folder);
    // Nothing can be renamed over a folder.
    mkdirSync(join(folder, 'model.safetensors'));
    await expect(saveCheckpoint(folder, config, lazy(original))).rejects.toMatchObject({ code: 'io' });
    expect(readdirSync(folder).filter((name) => name !== 'model.safetensors').toSorted()).toEqual(before.toSorted());
    rmSync(join(folder, 'model.safetensors'), { recursive: true });
    expect((await openCheckpoint(folderFiles(folder))).names).toHaveLength(original.names.length);
    // The last file of a save in as many shards.
    rmSync(join(folder, 'model.safetensors.index.json'));
    mkdirSync(join(folder, 'model.safetensors.index.json'));
    await expect(saveCheckpoint(folder, config, lazy(original), { maxShardBytes: 300_000 })).rejects.toMatchObject({ code: 'io' });
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it.each([0, -5, NaN, 1.5])('refuses shards of %d bytes', async (maxShardBytes) => {
    await expect(saveCheckpoint(folder, config, lazy(await openCheckpoint(golden)), { maxShardBytes })).rejects.toMatchObject({ code: 'invalid-input', argument: 'maxShardBytes' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('writes BF16 when the tensors are', async () => {
    const values = await (await openCheckpoint(golden)).readFloat32('model.visual.merger.ln_q.weight');
    const { data, dtype, shape } = floatTensor(values, [32], 'BF16');
    await saveCheckpoint(folder, { ...config, dtype: 'bfloat16' }, new Map([['model.visual.merger.ln_q.weight', { dtype, shape, read: () => data }]]));
    expect((await openCheckpoint(folderFiles(folder))).info('model.visual.merger.ln_q.weight')).toMatchObject({ dtype: 'BF16', name: 'visual.merger.ln_q.weight' });
  });
});

describe('saveAdapter', () => {
  it('round-trips the golden adapter', async () => {
    const adapter = await readAdapter(folderFiles(goldenPath('adapter_text/')), config);
    await saveAdapter(folder, adapter);
    expect(await readAdapter(folderFiles(folder), config)).toEqual(adapter);
    expect(readdirSync(folder).toSorted()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  });
});

describe('downloads', () => {
  const content = Uint8Array.from({ length: 50_000 }, (_, i) => (i * 7) % 251);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const quick = { retryDelay: 1, timeout: 200 };
  let server: Loopback;
  let fault: { breakAfter?: number; etag?: string } = {};
  beforeAll(async () => {
    server = await listen((request, response, at) => sendFile(request, response, at, content, fault));
  });
  afterAll(() => server.close());

  it('resume where they stopped', async () => {
    const path = join(folder, 'weights');
    const controller = new AbortController();
    fault = { breakAfter: 20_000 };
    const first = downloadFile(`${server.url}/w`, path, { ...quick, signal: controller.signal, onProgress: ({ received }) => { if (received >= 20_000) controller.abort(); } });
    await expect(first).rejects.toMatchObject({ code: 'aborted' });
    expect(readdirSync(folder).toSorted()).toEqual(['weights.part', 'weights.part.json']);
    const there = readFileSync(`${path}.part`).length;
    expect(there).toBeGreaterThanOrEqual(20_000);
    fault = {};
    const before = server.sent;
    await downloadFile(`${server.url}/w`, path, { ...quick, sha256 });
    expect(Buffer.compare(readFileSync(path), content)).toBe(0);
    // Two probes of one byte, and what was missing.
    expect(server.sent - before).toBe(2 + 50_000 - there);
    expect(readdirSync(folder)).toEqual(['weights']);
  });

  it('start again when the file is another one, or nobody knows', async () => {
    const path = join(folder, 'weights');
    writeFileSync(`${path}.part`, new Uint8Array(30_000));
    writeFileSync(`${path}.part.json`, JSON.stringify({ size: 50_000, version: '"old"' }));
    await downloadFile(`${server.url}/w`, path, { ...quick, sha256 });
    expect(Buffer.compare(readFileSync(path), content)).toBe(0);
    writeFileSync(`${path}.part`, new Uint8Array(30_000));
    await downloadFile(`${server.url}/w`, path, { ...quick, sha256 });
  });

  it('end on a full disk with what to do, and go on from there', async () => {
    const path = join(folder, 'weights');
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    fault = { breakAfter: 20_000 };
    let calls = 0;
    const onProgress = () => {
      if (calls++ < 20) throw full;
    };
    await expect(downloadFile(`${server.url}/w`, path, { ...quick, onProgress })).rejects.toThrow(/Make room on the disk/);
    expect(readdirSync(folder).toSorted()).toEqual(['weights.part', 'weights.part.json']);
    fault = {};
    await downloadFile(`${server.url}/w`, path, { ...quick, sha256 });
    expect(Buffer.compare(readFileSync(path), content)).toBe(0);
  });

  it('are refused with another hash, and leave nothing', async () => {
    await expect(downloadFile(`${server.url}/w`, join(folder, 'x'), { ...quick, sha256: sha256.replace(/^./, (c) => (c === '0' ? '1' : '0')) })).rejects.toThrow(/SHA-256/);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('the hub', () => {
  const files = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json', 'model.safetensors'];
  let hub: Loopback;
  let store: Loopback;
  beforeAll(async () => {
    store = await listen((request, response, at) => sendFile(request, response, at, goldenBytes(`model/${(request.url ?? '').slice(1)}`)));
    hub = await listen((request, response, at) => {
      const [, api] = /^\/api\/models\/me\/tiny\/tree\/main\?/.exec(request.url ?? '') === null ? [] : ['', true];
      if (api === true) {
        const entries = files.map((path) => {
          const bytes = goldenBytes(`model/${path}`);
          const lfs = { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length, pointerSize: 130 };
          return { type: 'file', path, size: bytes.length, oid: '0', ...(path.endsWith('.safetensors') ? { lfs } : {}) };
        });
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify([...entries, { type: 'file', path: '../evil.json', size: 1, oid: '0' }, { type: 'directory', path: 'onnx', size: 0, oid: '0' }]));
        return;
      }
      const path = /^\/me\/tiny\/resolve\/main\/([\w.]+)$/.exec(request.url ?? '')?.[1];
      if (path === undefined || !files.includes(path)) response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
      else if (path.endsWith('.safetensors')) response.writeHead(302, { location: `${store.url}/${path}` }).end();
      else sendFile(request, response, at, goldenBytes(`model/${path}`));
    });
  });
  afterAll(async () => {
    await hub.close();
    await store.close();
  });
  const options = () => ({ repo: 'me/tiny', hubUrl: hub.url, accessToken: 'hf_secret', retryDelay: 1, retries: 1 });

  it('lists files, without those whose names are paths', async () => {
    expect((await listHubFiles(options())).map(({ path }) => path)).toEqual(files);
    await expect(listHubFiles({ ...options(), repo: 'me/none' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(listHubFiles({ ...options(), repo: '../x' })).rejects.toMatchObject({ code: 'invalid-input' });
  });

  it('gives a checkpoint by range, through the redirect to its store, which sees no token', async () => {
    const checkpoint = await openCheckpoint(hubFiles(options()));
    const expected = await (await goldenTensors('model/model.safetensors')).readFloat32('model.norm.weight');
    expect(await checkpoint.readFloat32('model.language_model.norm.weight')).toEqual(expected);
    expect(store.sent).toBeLessThan(10_000);
    expect(hub.tokens).toContain('Bearer hf_secret');
    expect(store.tokens).toEqual([]);
    expect((await Processor.load(hubFiles(options()))).tokenizer.eosTokenId).toBe(500);
  });

  it('downloads a model once', async () => {
    expect(await downloadModel(folder, options())).toEqual(files);
    expect(readdirSync(folder).toSorted()).toEqual(files.toSorted());
    expect(Buffer.compare(readFileSync(join(folder, 'model.safetensors')), goldenBytes('model/model.safetensors'))).toBe(0);
    const before = store.sent;
    await downloadModel(folder, options());
    expect(store.sent).toBe(before);
  });
});
