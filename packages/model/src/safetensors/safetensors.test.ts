import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { goldenBytes, goldenTensors } from '../../test/golden.ts';
import { ModelError } from '../errors.ts';
import { memoryFiles } from '../files/model-files.ts';
import { blobSource, bytesSource } from './byte-source.ts';
import { openCheckpoint } from './checkpoint.ts';
import { floatToBfloat16, floatToHalf, fromFloat32, halfToFloat, toFloat32, type Dtype } from './dtype.ts';
import { canonicalKey, publishedKey } from './key-layout.ts';
import { SafetensorsFile } from './reader.ts';
import { floatTensor, serializeSafetensors, type TensorData } from './writer.ts';

async function tensorsOf(file: SafetensorsFile): Promise<Map<string, TensorData>> {
  const out = new Map<string, TensorData>();
  for (const [name, { dtype, shape }] of file.tensors) out.set(name, { dtype, shape, data: await file.readBytes(name) });
  return out;
}

/** A file from any header text and data. */
function raw(header: string, data = 0, length?: bigint): Uint8Array {
  const json = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + json.byteLength + data);
  new DataView(out.buffer).setBigUint64(0, length ?? BigInt(json.byteLength), true);
  out.set(json, 8);
  return out;
}

/** The golden model in two shards, in the other layout and in BF16. */
async function shards(): Promise<{ files: Record<string, Uint8Array | string>; map: Record<string, string> }> {
  const file = await goldenTensors('model/model.safetensors');
  const parts = [new Map<string, TensorData>(), new Map<string, TensorData>()] as const;
  const map: Record<string, string> = {};
  let i = 0;
  for (const [key, { shape }] of file.tensors) {
    const shard = i++ % 2;
    const name = canonicalKey(key);
    parts[shard === 0 ? 0 : 1].set(name, floatTensor(await file.readFloat32(key), shape, 'BF16'));
    map[name] = `model-0000${shard + 1}-of-00002.safetensors`;
  }
  return {
    map,
    files: {
      'model.safetensors.index.json': JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }),
      'model-00001-of-00002.safetensors': serializeSafetensors(parts[0]),
      'model-00002-of-00002.safetensors': serializeSafetensors(parts[1]),
    },
  };
}


describe('reading and writing', () => {
  it.each(['model/model.safetensors', 'adapter_text/adapter_model.safetensors', 'case_text_only.safetensors', 'preprocess.safetensors'])(
    'gives the bytes of the reference implementation back: %s', async (path) => {
      const file = await goldenTensors(path);
      const copy = serializeSafetensors(await tensorsOf(file), file.metadata);
      const original = goldenBytes(path);
      if (path.startsWith('model') || path.startsWith('adapter')) expect(Buffer.compare(copy, original)).toBe(0);
      const again = await SafetensorsFile.open(bytesSource(copy));
      const tensors = await tensorsOf(again);
      expect([...tensors.keys()].toSorted()).toEqual([...file.tensors.keys()].toSorted());
      for (const [name, { data }] of tensors) expect(Buffer.compare(data, await file.readBytes(name)), name).toBe(0);
    });

  it('reads F16 inputs, and ranges inside of a tensor', async () => {
    const file = await goldenTensors('case_single.safetensors');
    expect(file.info('in.pixel_values')).toMatchObject({ dtype: 'F16', shape: [144, 1176] });
    const all = await file.readFloat32('in.pixel_values');
    expect(toFloat32(await file.readBytes('in.pixel_values', 200, 64), 'F16')).toEqual(all.slice(100, 132));
    expect(() => file.readBytes('in.pixel_values', 0, 1e9)).toThrowError(ModelError);
    expect(() => file.info('nothing')).toThrowError(/no tensor/);
  });

  it('reads a Blob as it reads bytes', async () => {
    const bytes = goldenBytes('adapter_text/adapter_model.safetensors');
    const file = await SafetensorsFile.open(blobSource(new Blob([bytes as Uint8Array<ArrayBuffer>])));
    expect(file.tensors.size).toBe(28);
    await expect(file.source.read(bytes.length - 1, 2)).rejects.toThrowError(ModelError);
  });

  it('round-trips any tensors, and is deterministic in the order of insertion', async () => {
    const dtype = fc.constantFrom<Dtype>('F32', 'F16', 'BF16', 'I64', 'I32', 'U8', 'BOOL');
    const sizes: Record<Dtype, number> = { F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1 };
    const tensor = fc.tuple(dtype, fc.array(fc.nat(4), { maxLength: 3 })).chain(([type, shape]) => {
      const bytes = shape.reduce((a, b) => a * b, 1) * sizes[type];
      return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((data): TensorData => ({ dtype: type, shape, data }));
    });
    const names = fc.string({ unit: 'binary', minLength: 1 }).filter((name) => name !== '__metadata__' && name !== '__proto__' && new TextDecoder().decode(new TextEncoder().encode(name)) === name);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.tuple(names, tensor), { selector: ([name]) => name, maxLength: 6 }), async (entries) => {
        const bytes = serializeSafetensors(new Map(entries), { format: 'pt' });
        expect(serializeSafetensors(new Map(entries.toReversed()), { format: 'pt' })).toEqual(bytes);
        expect(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8).toBe(0);
        const file = await SafetensorsFile.open(bytesSource(bytes));
        expect(file.metadata).toEqual({ format: 'pt' });
        const back = await tensorsOf(file);
        expect(back.size).toBe(entries.length);
        for (const [name, value] of entries) expect(back.get(name)).toEqual(value);
      }),
      { numRuns: 200 },
    );
  });

  it('refuses to write data that does not fit its shape', () => {
    expect(() => serializeSafetensors(new Map([['a', { dtype: 'F32', shape: [2], data: new Uint8Array(4) }]]))).toThrowError(ModelError);
  });
});

describe('hostile files', () => {
  const ok = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}';
  it.each<[string, Uint8Array]>([
    ['empty', new Uint8Array(0)],
    ['seven bytes', new Uint8Array(7)],
    ['a header length of 2^64-1', raw(ok, 8, 2n ** 64n - 1n)],
    ['a header length just over the limit', raw(ok, 8, 100_000_001n)],
    ['a header that runs past the end', raw(ok, 8, BigInt(ok.length + 9))],
    ['a header that is not JSON', raw('{"a":', 0)],
    ['a header that is an array', raw('[1,2]', 0)],
    ['a header in invalid UTF-8', Uint8Array.from([3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d])],
    ['a header that starts with a space', raw(` ${ok}`, 8)],
    ['truncated data', raw(ok, 7)],
    ['data that belongs to nothing', raw(ok, 9)],
    ['overlap', raw('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}', 6)],
    ['two names for the same bytes', raw('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', 4)],
    ['a hole', raw('{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', 2)],
    ['a name given twice', raw('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', 2)],
    ['reversed offsets', raw('{"a":{"dtype":"U8","shape":[0],"data_offsets":[2,1]}}', 2)],
    ['negative offsets', raw('{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}', 1)],
    ['a shape of another size', raw('{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', 8)],
    ['a shape whose product overflows to the right size', raw('{"a":{"dtype":"U8","shape":[4294967296,4294967296,0.5],"data_offsets":[0,8]}}', 8)],
    ['an overflowing shape', raw('{"a":{"dtype":"U8","shape":[9007199254740991,9007199254740991],"data_offsets":[0,8]}}', 8)],
    ['an unknown dtype', raw('{"a":{"dtype":"F128","shape":[1],"data_offsets":[0,8]}}', 8)],
    ['a dtype from the prototype', raw('{"a":{"dtype":"constructor","shape":[1],"data_offsets":[0,8]}}', 8)],
    ['metadata that is no string', raw('{"__metadata__":{"a":1}}', 0)],
  ])('are refused: %s', async (_name, bytes) => {
    await expect(SafetensorsFile.open(bytesSource(bytes))).rejects.toMatchObject({ name: 'ModelError', code: 'invalid-safetensors' });
  });

  it('a prototype name is only a name', async () => {
    const file = await SafetensorsFile.open(bytesSource(raw('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1)));
    expect([...file.tensors.keys()]).toEqual(['__proto__']);
  });
});

describe('dtypes', () => {
  it('rounds to float16 as IEEE 754 says: every value back, halfway to even', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = halfToFloat(bits);
      if (Number.isNaN(value)) expect(Number.isNaN(halfToFloat(floatToHalf(value)))).toBe(true);
      else expect(floatToHalf(value)).toBe(bits);
    }
    // Between two neighbours the middle goes to the even one, a little more or less to the nearer one.
    for (let bits = 0; bits < 0x7bff; bits += 37) {
      const middle = (halfToFloat(bits) + halfToFloat(bits + 1)) / 2;
      expect(floatToHalf(middle)).toBe(bits % 2 === 0 ? bits : bits + 1);
      expect(floatToHalf(middle * (1 + 2 ** -20))).toBe(bits + 1);
      expect(floatToHalf(middle * (1 - 2 ** -20))).toBe(bits);
    }
    expect(floatToHalf(65519.99)).toBe(0x7bff);
    expect(floatToHalf(65520)).toBe(0x7c00);
    expect(floatToHalf(-1e30)).toBe(0xfc00);
  });

  it('rounds to bfloat16 to the nearer neighbour, halfway to even', () => {
    for (let bits = 0; bits < 0x7f7f; bits += 13) {
      const [low = 0, high = 0] = toFloat32(Uint8Array.from([bits & 255, bits >> 8, (bits + 1) & 255, (bits + 1) >> 8]), 'BF16');
      expect(floatToBfloat16(low)).toBe(bits);
      expect(floatToBfloat16((low + high) / 2)).toBe(bits % 2 === 0 ? bits : bits + 1);
    }
    expect(floatToBfloat16(Infinity)).toBe(0x7f80);
    expect(floatToBfloat16(NaN) & 0x7fff).toBeGreaterThan(0x7f80);
  });

  it('converts integers', () => {
    expect([...toFloat32(new Uint8Array(BigInt64Array.from([-3n, 5n]).buffer), 'I64')]).toEqual([-3, 5]);
    expect([...toFloat32(new Uint8Array(Int32Array.from([-3, 5]).buffer), 'I32')]).toEqual([-3, 5]);
    expect(fromFloat32(Float32Array.of(1.5), 'F32')).toHaveLength(4);
  });
});

describe('checkpoints', () => {
  const bytes = goldenBytes('model/model.safetensors');

  it('maps the published names to the in-memory ones and back', async () => {
    const file = await goldenTensors('model/model.safetensors');
    const checkpoint = await openCheckpoint(memoryFiles({ 'model.safetensors': bytes }));
    expect(checkpoint.names).toHaveLength(file.tensors.size);
    expect(checkpoint.has('model.language_model.embed_tokens.weight')).toBe(true);
    expect(checkpoint.info('model.visual.patch_embed.proj.weight').shape).toEqual([32, 3, 2, 14, 14]);
    for (const key of file.tensors.keys()) {
      const name = canonicalKey(key);
      expect(publishedKey(name, 'qwen2_5_vl')).toBe(key);
      expect(canonicalKey(name)).toBe(name);
      expect(publishedKey(name, 'qwen3_vl')).toBe(name);
      expect(await checkpoint.readFloat32(name)).toEqual(await file.readFloat32(key));
    }
    expect(canonicalKey('lm_head.weight')).toBe('lm_head.weight');
  });

  it('reads shards, the other layout and BF16', async () => {
    const whole = await openCheckpoint(memoryFiles({ 'model.safetensors': bytes }));
    const sharded = await openCheckpoint(memoryFiles((await shards()).files));
    expect(sharded.names.toSorted()).toEqual(whole.names.toSorted());
    for (const name of whole.names) {
      const expected = await whole.readFloat32(name);
      const actual = await sharded.readFloat32(name);
      expected.forEach((value, i) => expect(Math.abs((actual[i] ?? NaN) - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -8));
    }
  });

  it('reads a single file before an index beside it, as transformers', async () => {
    const { files } = await shards();
    const both = await openCheckpoint(memoryFiles({ ...files, 'model.safetensors': bytes }));
    expect(both.info('model.language_model.norm.weight').dtype).toBe('F32');
    const stale = memoryFiles({ 'model.safetensors': bytes, 'model.safetensors.index.json': JSON.stringify({ weight_map: { 'lm_head.weight': 'model-00001-of-00002.safetensors' } }) });
    expect((await openCheckpoint(stale)).names).toEqual(both.names);
  });

  it('refuses indexes that do not fit their shards', async () => {
    const { files, map } = await shards();
    const index = (weights: unknown): Record<string, Uint8Array | string> => ({ ...files, 'model.safetensors.index.json': JSON.stringify({ weight_map: weights }) });
    await expect(openCheckpoint(memoryFiles(index({ ...map, extra: 'model-00001-of-00002.safetensors' })))).rejects.toThrow(/not there/);
    const [first = ''] = Object.keys(map);
    await expect(openCheckpoint(memoryFiles(index(Object.fromEntries(Object.entries(map).slice(1)))))).rejects.toThrow(/does not put there/);
    for (const name of ['../model.safetensors', '/etc/passwd', 'http://x/model.safetensors', 5]) {
      await expect(openCheckpoint(memoryFiles(index({ ...map, [first]: name })))).rejects.toThrow(/beside the index/);
    }
    await expect(openCheckpoint(memoryFiles(index({})))).rejects.toThrow(/must name a file/);
    await expect(openCheckpoint(memoryFiles({}))).rejects.toMatchObject({ code: 'not-found' });
  });

  it('refuses a tensor in both layouts', async () => {
    const both = serializeSafetensors(new Map([['visual.a', floatTensor(Float32Array.of(1), [1])], ['model.visual.a', floatTensor(Float32Array.of(2), [1])]]));
    await expect(openCheckpoint(memoryFiles({ 'model.safetensors': both }))).rejects.toThrow(/both key layouts/);
  });
});
