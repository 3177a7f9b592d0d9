/** @file Qwen2-VL, Qwen3-VL, untied heads, paddings, videos and every kind of adapter against transformers and PEFT. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it, vi } from 'vitest';
import {
  adapterFiles, type BatchImage, type BatchRow, bytesSource, featureLength, floatTensor, generate, getRopeIndex, type GridThw, loraConfig, memoryFiles, openCheckpoint, packBatch, parseConfig, type PixelImage, readAdapter,
  SafetensorsFile, serializeSafetensors, storedImages, type TensorData, VisionLanguageModel,
} from '../src/index.ts';
import { folderFiles, saveCheckpoint } from '../src/node.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const FOLDER = new URL('./fixtures/variants/', import.meta.url);
const bytes = (path: string) => new Uint8Array(readFileSync(new URL(path, FOLDER)));
const json = (path: string): unknown => JSON.parse(readFileSync(new URL(path, FOLDER), 'utf8'));
const open = (name: string) => SafetensorsFile.open(bytesSource(bytes(`${name}.safetensors`), name));

async function modelOf(folder: string): Promise<VisionLanguageModel> {
  const model = new VisionLanguageModel(engine, parseConfig(json(`${folder}/config.json`)));
  await model.load(await openCheckpoint(folderFiles(fileURLToPath(new URL(folder, FOLDER)))));
  return model;
}

/** The golden rows without their padding, predicting the labels that are not -100. `places` are row and column of each predictor. */
async function caseOf(name: string, model: VisionLanguageModel) {
  const file = await open(name);
  const get = (key: string) => file.readFloat32(key);
  const [ids, mask, positions, labels] = await Promise.all(['in.input_ids', 'in.attention_mask', 'in.position_ids', 'in.labels'].map(get)) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const [count, length] = file.tensors.get('in.input_ids')!.shape as unknown as [number, number];
  const queue = async (grids: string, pixels: string): Promise<BatchImage[]> => {
    if (!file.tensors.has(grids)) return [];
    const flat = await get(grids);
    const values = await get(pixels);
    const width = file.tensors.get(pixels)!.shape[1]!;
    let at = 0;
    return Array.from({ length: flat.length / 3 }, (_, i) => {
      const gridThw: GridThw = [flat[3 * i]!, flat[3 * i + 1]!, flat[3 * i + 2]!];
      const n = gridThw[0] * gridThw[1] * gridThw[2] * width;
      return { gridThw, pixelValues: values.subarray(at, (at += n)) };
    });
  };
  const images = await queue('in.image_grid_thw', 'in.pixel_values');
  const videos = await queue('in.video_grid_thw', 'in.pixel_values_videos');
  const { imageTokenId, videoTokenId } = model.config;
  const columns: number[][] = [];
  const rows: BatchRow[] = Array.from({ length: count }, (_, r) => {
    const own = Array.from({ length }, (_, i) => i).filter((i) => mask[r * length + i] !== 0);
    columns.push(own);
    const inputIds = own.map((i) => ids[r * length + i]!);
    const seen: BatchImage[] = [];
    for (let i = 0; i < inputIds.length; ) {
      const from = inputIds[i] === imageTokenId ? images : inputIds[i] === videoTokenId ? videos : undefined;
      if (from === undefined) i++;
      else {
        const image = from.shift()!;
        seen.push(image);
        i += (image.gridThw[0] * image.gridThw[1] * image.gridThw[2]) / 4;
      }
    }
    return { sequence: { inputIds, positionIds: [0, 1, 2].flatMap((axis) => own.map((i) => positions[(axis * count + r) * length + i]!)), images: seen }, predict: own.map((i) => (labels[r * length + i]! >= 0 ? 1 : 0)) };
  });
  const batch = packBatch(model.config, rows);
  return { get, file, rows, batch, length, vocab: model.config.vocabSize, places: batch.places.map(({ row, index }) => [row, columns[row]![index - 1]!] as const) };
}

function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < want.length; i++) most = Math.max(most, Math.abs(got[i]! - want[i]!));
  return Number.isNaN(most) ? Infinity : most;
}

type Golden = Awaited<ReturnType<typeof caseOf>>;

async function expectLogits({ batch, places, length, vocab }: Golden, golden: Float32Array, model: VisionLanguageModel, adapter?: string): Promise<void> {
  const out = await model.inspect(batch, ['logits'], adapter === undefined ? {} : { adapter });
  expect(places.length).toBeGreaterThan(10);
  places.forEach(([r, column], i) => {
    const at = (r * length + column) * vocab;
    expect(largest(out['logits']!.subarray(i * vocab, (i + 1) * vocab), golden.subarray(at, at + vocab)), `logits ${r},${column}`).toBeLessThan(1e-3);
  });
}

const CASES = [['qwen2_vl', 'qwen2_vl_case'], ['qwen3_vl', 'qwen3_vl_case'], ['qwen25_untied', 'qwen25_untied_case'], ['qwen25_untied', 'qwen25_left_pad'], ['bf16_sharded', 'bf16_sharded_case'], ['qwen25_untied', 'qwen25_video']] as const;

describe('golden forward of transformers', () => {
  it.each(CASES)('%s, %s: logits', async (folder, name) => {
    const model = await modelOf(folder);
    const golden = await caseOf(name, model);
    await expectLogits(golden, await golden.get('fw.logits'), model);
    model.dispose();
  });

  it.each(CASES.slice(0, 5))('%s, %s: positions', async (folder, name) => {
    const model = await modelOf(folder);
    const { rows } = await caseOf(name, model);
    for (const { sequence } of rows) {
      const own = getRopeIndex(sequence.inputIds, sequence.images.map((i) => i.gridThw), model.config).positionIds;
      expect(Array.from(own)).toEqual(Array.from(sequence.positionIds));
    }
    model.dispose();
  });
});

it('loads a tied model whose file holds the head as well when it is the table, and refuses another', async () => {
  const model = await modelOf('qwen2_vl');
  const tensors = await model.tensors();
  const table = tensors.get('model.language_model.embed_tokens.weight')!;
  const fileWith = (head: TensorData) => openCheckpoint(memoryFiles({ 'model.safetensors': serializeSafetensors(new Map(tensors).set('lm_head.weight', head)) }));
  await model.load(await fileWith(table));
  const values = new Float32Array(table.data.slice().buffer);
  values[values.length - 1]! += 1;
  const refused = { code: 'tensor-mismatch', argument: 'lm_head.weight', remedy: expect.stringContaining('tie_word_embeddings') as string };
  await expect(model.load(await fileWith(floatTensor(values, table.shape)))).rejects.toMatchObject(refused);
  // The head of a model that was cut down, too.
  await expect(model.load(await fileWith(floatTensor(values.subarray(0, 32), [1, 32])))).rejects.toMatchObject(refused);
  model.dispose();
});

const SETTINGS = json('settings.json') as { name: string; folder: string; changes: Record<string, object>; logps: number[] }[];

it.each(SETTINGS)('other settings as in transformers: $name, $folder', async ({ folder, changes, logps }) => {
  const raw = json(`${folder}/config.json`) as Record<string, object>;
  const model = new VisionLanguageModel(engine, parseConfig({ ...raw, ...Object.fromEntries(Object.entries(changes).map(([part, fields]) => [part, { ...raw[part], ...fields }])) }));
  await model.load(await openCheckpoint(folderFiles(fileURLToPath(new URL(folder, FOLDER)))));
  const { batch } = await caseOf(`${folder}_case`, model);
  const { logp } = await model.score(batch);
  expect(logp).toHaveLength(logps.length);
  expect(largest(logp, logps)).toBeLessThan(1e-3);
  model.dispose();
});

describe.each(['qwen2_vl', 'qwen3_vl'])('%s', (folder) => {
  it('gives the gradient of every weight', async () => {
    const model = await modelOf(folder);
    const { batch, file, get } = await caseOf(`${folder}_case`, model);
    model.setTrainable('text', 'vision');
    const n = batch.targets.length;
    const { logp } = await model.accumulate(batch, new Float32Array(n).fill(-1 / n));
    expect(Math.abs(-Array.from(logp).reduce((a, b) => a + b, 0) / n - (await get('fw.loss'))[0]!)).toBeLessThan(1e-4);
    const gradients = await model.tensors({ from: 'gradients' });
    const golden = [...file.tensors.keys()].filter((k) => k.startsWith('grad.') && k !== 'grad.lm_head.weight');
    expect(golden.length).toBe(gradients.size);
    for (const key of golden) {
      const got = new Float32Array(gradients.get(key.slice('grad.'.length))!.data.slice().buffer);
      const want = await get(key);
      want.forEach((g, i) => expect(Math.abs(got[i]! - g), `${key}[${i}]`).toBeLessThan(1e-3 * (1 + Math.abs(g))));
    }
    model.dispose();
  });

  it('gives the same from features encoded before, and generates with the log-probabilities of the training pass', async () => {
    const model = await modelOf(folder);
    const { rows, batch } = await caseOf(`${folder}_case`, model);
    const encoded = await Promise.all(rows.map(async (r) => ({ ...r, sequence: { ...r.sequence, images: await model.encodeImages(r.sequence.images as { gridThw: GridThw; pixelValues: Float32Array }[]) } })));
    const [tower, features] = [await model.score(batch), await model.score(packBatch(model.config, encoded))];
    expect(largest(features.logp, tower.logp)).toBeLessThan(1e-5);
    const prompts = encoded.map((r) => r.sequence);
    const completions = await generate(model, prompts, { maxNewTokens: 6, stopIds: [], seed: 4 });
    const { logp } = await model.score(packBatch(model.config, prompts.map((sequence, i) => ({ sequence, completions: [completions[i]!.tokens] }))));
    expect(largest(Float32Array.from(completions.flatMap((c) => [...c.logps])), logp)).toBeLessThan(1e-4);
    model.dispose();
  });

  it('takes features that stay on the device, in scoring, training and generation', async () => {
    const model = await modelOf(folder);
    const { rows } = await caseOf(`${folder}_case`, model);
    const images = rows.map((r) => r.sequence.images as PixelImage[]);
    const grids = images.flat().map((i) => i.gridThw);
    const storage = engine.createStorage('features', 5 + featureLength(model.config, grids));
    const maps = vi.spyOn(engine, 'map');
    const stored = await model.encodeInto(storage, images.flat(), 5);
    expect(maps).not.toHaveBeenCalled();
    maps.mockRestore();
    const encoded = await model.encodeImages(images.flat());
    const withImages = (all: readonly BatchImage[]) => {
      let at = 0;
      return rows.map((r) => ({ ...r, sequence: { ...r.sequence, images: all.slice(at, (at += r.sequence.images.length)) } }));
    };
    const [host, device] = [withImages(encoded), withImages(stored)];
    const batch = (r: typeof host) => packBatch(model.config, r);
    model.addAdapter('a', loraConfig({ r: 2 }), 6);
    model.setTrainable({ adapter: 'a' });
    const seeds = new Float32Array(batch(host).targets.length).fill(-0.1);
    const results = [];
    for (const r of [host, device]) {
      const { logp } = await model.score(batch(r));
      await model.accumulate(batch(r), seeds, { adapter: 'a' });
      const gradients = await model.adapter('a').store.storage('gradients').read();
      model.adapter('a').store.storage('gradients').write(new Float32Array(gradients.length));
      results.push({ logp, gradients, completions: await generate(model, r.map((x) => x.sequence), { maxNewTokens: 4, stopIds: [], seed: 4 }) });
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[0]!.gradients.some((g) => g !== 0)).toBe(true);
    expect(() => batch([host[0]!, device[2]!])).toThrow(/of the host and in storage/);
    await expect(model.encodeInto(storage, images.flat(), 6)).rejects.toMatchObject({ code: 'invalid-input', argument: 'storage' });
    expect(() => packBatch(model.config, withImages(storedImages(model.config, grids, storage, 6)))).toThrow(/leaves no room/);
    storage.dispose();
    model.dispose();
  });

  it('writes the checkpoint that it has read', async () => {
    const model = await modelOf(folder);
    const file = await SafetensorsFile.open(bytesSource(bytes(`${folder}/model.safetensors`), folder));
    const { publishedKey } = await import('../src/index.ts');
    const own = await SafetensorsFile.open(bytesSource(serializeSafetensors(new Map([...(await model.tensors())].map(([k, v]) => [publishedKey(k, model.config.modelType), v]))), 'own'));
    expect([...own.tensors.keys()].sort()).toEqual([...file.tensors.keys()].filter((k) => k !== 'lm_head.weight').sort());
    for (const [key, { shape }] of own.tensors) {
      expect(shape).toEqual(file.tensors.get(key)!.shape);
      expect(await own.readFloat32(key)).toEqual(await file.readFloat32(key));
    }
    model.dispose();
  });
});

describe.each([['adapter_dora', 'qwen25_untied'], ['adapter_all_linear_rslora', 'qwen25_untied'], ['adapter_pattern', 'qwen25_untied'], ['adapter_qwen3', 'qwen3_vl'], ['adapter_head', 'qwen25_untied']] as const)('golden %s of PEFT', (name, folder) => {
  const files = () => memoryFiles({ 'adapter_config.json': JSON.stringify(json(`${name}/adapter_config.json`)), 'adapter_model.safetensors': bytes(`${name}/adapter_model.safetensors`) });
  const worn = async () => {
    const model = await modelOf(folder);
    const adapter = model.loadAdapter('a', await readAdapter(files(), model.config));
    const golden = await caseOf(`${folder}_case`, model);
    return { model, adapter, golden, file: await open(name) };
  };

  it('logits, loss and every gradient', async () => {
    const { model, adapter, golden, file } = await worn();
    await expectLogits(golden, await file.readFloat32('logits'), model, 'a');
    model.setTrainable({ adapter: 'a' });
    const n = golden.batch.targets.length;
    const { logp } = await model.accumulate(golden.batch, new Float32Array(n).fill(-1 / n), { adapter: 'a' });
    expect(Math.abs(-Array.from(logp).reduce((a, b) => a + b, 0) / n - (await file.readFloat32('loss'))[0]!)).toBeLessThan(1e-4);
    let checked = 0;
    for (const [module, parts] of await adapter.read('gradients')) {
      for (const [suffix, got] of [['lora_A.weight', parts.loraA], ['lora_B.weight', parts.loraB], ['lora_magnitude_vector.weight', parts.magnitude]] as const) {
        if (got === undefined) continue;
        const key = [`grad.${module}.${suffix}`, `grad.${module}.${suffix.replace('vector.weight', 'vector')}`].find((k) => file.tensors.has(k))!;
        (await file.readFloat32(key)).forEach((g, i) => expect(Math.abs(got[i]! - g), `${key}[${i}]`).toBeLessThan(1e-3 * (1 + Math.abs(g))));
        checked++;
      }
    }
    expect(checked).toBe([...file.tensors.keys()].filter((k) => k.startsWith('grad.')).length);
    model.dispose();
  });

  it('merging gives what wearing gives, and can be taken back', async () => {
    const { model, golden } = await worn();
    const before = await model.score(golden.batch, { adapter: 'a' });
    const base = await model.score(golden.batch);
    await model.merge('a');
    expect(largest((await model.score(golden.batch)).logp, before.logp)).toBeLessThan(1e-4);
    expect(() => model.unmerge('b')).toThrow(/merged last/);
    model.unmerge('a');
    expect(await model.score(golden.batch)).toEqual(base);
    expect(() => model.unmerge('a')).toThrow(/not merged/);
    // Removed, it is in the weights for good, and another of its name may follow.
    await model.merge('a');
    model.removeAdapter('a');
    expect(() => model.unmerge('a')).toThrow(/not merged/);
    model.addAdapter('a', loraConfig({ r: 2 }), 3);
    await model.merge('a');
    expect(largest((await model.score(golden.batch)).logp, before.logp)).toBeLessThan(1e-4);
    model.dispose();
  });

  it('is written again as it was read', async () => {
    const { model, adapter } = await worn();
    const written = adapterFiles(await adapter.toAdapter());
    const own = await SafetensorsFile.open(bytesSource(written['adapter_model.safetensors'], 'own'));
    const theirs = await SafetensorsFile.open(bytesSource(bytes(`${name}/adapter_model.safetensors`), name));
    const names = [...theirs.tensors.keys()].filter((k) => !k.includes('base_layer'));
    expect([...own.tensors.keys()].sort()).toEqual(names.sort());
    for (const key of names) expect(await own.readFloat32(key), key).toEqual(await theirs.readFloat32(key));
    model.dispose();
  });
});

describe('a checkpoint in BF16, in two shards', () => {
  it('is saved from the GPU with the bits, shapes and dtypes it was read with', async () => {
    const model = await modelOf('bf16_sharded');
    const folder = mkdtempSync(join(tmpdir(), 'trimpi-bf16-'));
    await saveCheckpoint(folder, model.config, await model.tensors({ dtype: 'BF16' }), { maxShardBytes: 40_000 });
    const [own, theirs] = await Promise.all([folderFiles(folder), folderFiles(fileURLToPath(new URL('bf16_sharded', FOLDER)))].map(openCheckpoint));
    expect(own!.names.toSorted()).toEqual(theirs!.names.toSorted());
    for (const name of own!.names) {
      expect(own!.info(name)).toMatchObject({ dtype: 'BF16', shape: theirs!.info(name).shape });
      expect(await own!.readBytes(name), name).toEqual(await theirs!.readBytes(name));
    }
    rmSync(folder, { recursive: true });
    model.dispose();
  });
});

describe('fresh adapters', () => {
  it('DoRA begins with the row lengths of the weights, so that it changes nothing', async () => {
    const model = await modelOf('qwen25_untied');
    const { batch } = await caseOf('qwen25_untied_case', model);
    const base = await model.score(batch);
    model.addAdapter('d', loraConfig({ r: 2, useDora: true }), 1);
    expect(largest((await model.score(batch, { adapter: 'd' })).logp, base.logp)).toBeLessThan(1e-5);
    model.dispose();
  });

  it('of other sizes is refused, and nothing of it stays: the name is free, the memory too', async () => {
    const model = await modelOf('qwen25_untied');
    const { batch } = await caseOf('qwen25_untied_case', model);
    const files = memoryFiles({ 'adapter_config.json': JSON.stringify(json('adapter_dora/adapter_config.json')), 'adapter_model.safetensors': bytes('adapter_dora/adapter_model.safetensors') });
    const fitting = await readAdapter(files, model.config);
    const [[module, factors]] = fitting.weights as unknown as [[string, { readonly loraA: Float32Array; readonly loraB: Float32Array }]];
    const other = { ...fitting, weights: new Map([...fitting.weights, [module, { ...factors, loraA: factors.loraA.subarray(1) }]]) };
    const before = engine.counters.bytes;
    expect(() => model.loadAdapter('a', other)).toThrow(expect.objectContaining({ code: 'invalid-adapter', argument: module }));
    expect([engine.counters.bytes, [...model.adapters.keys()]]).toEqual([before, []]);
    await expect(model.score(batch, { adapter: 'a' })).rejects.toMatchObject({ code: 'not-found' });
    model.loadAdapter('a', fitting);
    expect((await model.score(batch, { adapter: 'a' })).logp.every(Number.isFinite)).toBe(true);
    model.dispose();
  });

  it('DoRA whose row lengths cannot be computed rejects where it is used, and not before', async () => {
    const model = await modelOf('qwen25_untied');
    const { batch } = await caseOf('qwen25_untied_case', model);
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', onUnhandled);
    const compile = vi.spyOn(engine, 'compile').mockRejectedValueOnce(new Error('no memory'));
    model.addAdapter('d', loraConfig({ r: 2, useDora: true }), 1);
    await new Promise((resolve) => setTimeout(resolve));
    compile.mockRestore();
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
    await expect(model.score(batch, { adapter: 'd' })).rejects.toThrow('no memory');
    await expect(model.inspect(batch, ['logp'], { adapter: 'd' })).rejects.toThrow('no memory');
    model.removeAdapter('d');
    model.addAdapter('d', loraConfig({ r: 2, useDora: true }), 1);
    expect((await model.score(batch, { adapter: 'd' })).logp.every(Number.isFinite)).toBe(true);
    model.dispose();
  });

  it('dropout changes the training pass by its key, not scoring; without a key it is refused', async () => {
    const model = await modelOf('qwen25_untied');
    const { batch } = await caseOf('qwen25_untied_case', model);
    const adapter = model.addAdapter('d', loraConfig({ r: 2, loraAlpha: 64, loraDropout: 0.5 }), 1);
    const weights = await adapter.read();
    for (const w of weights.values()) w.loraB.fill(0.05);
    adapter.write(weights);
    model.setTrainable({ adapter: 'd' });
    const zero = new Float32Array(batch.targets.length);
    const train = async (a: number, b: number) => (await model.accumulate(batch, zero, { adapter: 'd', dropoutKey: [a, b] })).logp;
    const one = await train(1, 1);
    expect(await train(1, 1)).toEqual(one);
    expect(largest(await train(1, 2), one)).toBeGreaterThan(1e-3);
    expect(largest((await model.score(batch, { adapter: 'd' })).logp, one)).toBeGreaterThan(1e-3);
    await expect(model.accumulate(batch, zero, { adapter: 'd' })).rejects.toMatchObject({ code: 'invalid-input', argument: 'dropoutKey' });
    model.dispose();
  });
});
