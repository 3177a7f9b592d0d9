/**
 * @file 10,000 broken inputs of every kind end in a ModelError or in a result that is right. Mutations start from
 * valid files, so that most get past the first check. The seed is fixed: a failure can be run again.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { configToJson } from '../src/config-json.ts';
import { parseConfig } from '../src/config.ts';
import { ModelError } from '../src/errors.ts';
import { parsePreprocessorConfig } from '../src/image/preprocessor-config.ts';
import { parseLoraConfig } from '../src/lora/config.ts';
import { linearModules } from '../src/lora/modules.ts';
import { matchTargets } from '../src/lora/targets.ts';
import { decodeImage } from '../src/node/decode-image.ts';
import { bytesSource } from '../src/safetensors/byte-source.ts';
import { DTYPE_BYTES } from '../src/safetensors/dtype.ts';
import { SafetensorsFile } from '../src/safetensors/reader.ts';
import { serializeSafetensors, type TensorData } from '../src/safetensors/writer.ts';
import { Tokenizer } from '../src/tokenizer.ts';
import { trainBpe } from '../src/bpe-trainer.ts';
import { mutateBytes, mutateJson, random } from './fuzz.ts';
import { goldenJson } from './golden.ts';

const RUNS = 10_000;

/** Runs a case; true when it gave a result, false for a ModelError. Anything else that is thrown fails the test. */
function attempt(input: unknown, run: () => void): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (error instanceof ModelError && error.message.length < 2000) return false;
    throw new Error(`threw ${String(error)} for ${JSON.stringify(input)?.slice(0, 2000)}`, { cause: error });
  }
}

describe('fuzzing', () => {
  it('safetensors headers', async () => {
    const next = random(1);
    const valid = serializeSafetensors(new Map<string, TensorData>([
      ['a.weight', { dtype: 'F32', shape: [2, 3], data: new Uint8Array(24).map((_, i) => i) }],
      ['b', { dtype: 'BF16', shape: [4], data: new Uint8Array(8) }],
      ['c', { dtype: 'I64', shape: [], data: new Uint8Array(8) }],
      ['empty', { dtype: 'U8', shape: [0, 5], data: new Uint8Array(0) }],
    ]));
    const headerSize = 8 + Number(new DataView(valid.buffer).getBigUint64(0, true));
    let accepted = 0;
    for (let i = 0; i < RUNS; i++) {
      const bytes = mutateBytes(valid, next, headerSize);
      try {
        const file = await SafetensorsFile.open(bytesSource(bytes));
        accepted++;
        // What is accepted tiles the data, and all of it can be read.
        let total = 0;
        for (const [name, { dtype, shape, begin, end }] of file.tensors) {
          expect(end - begin).toBe(shape.reduce((a, b) => a * b, 1) * DTYPE_BYTES[dtype]);
          expect((await file.readBytes(name)).byteLength).toBe(end - begin);
          total += end - begin;
        }
        expect(total).toBe(bytes.length - 8 - Number(new DataView(bytes.buffer).getBigUint64(0, true)));
      } catch (error) {
        if (!(error instanceof ModelError)) throw new Error(`threw ${String(error)} for ${Buffer.from(bytes).toString('latin1')}`, { cause: error });
      }
    }
    expect(accepted).toBeGreaterThan(50);
    expect(accepted).toBeLessThan(RUNS / 2);
  });

  it('configurations', () => {
    const next = random(2);
    const flat = goldenJson('model/config.json');
    const { rope_scaling: rope, ...text } = flat;
    const nested = { ...flat, text_config: { ...text, rope_parameters: { ...(rope as object), rope_type: 'default', type: undefined, rope_theta: 1e6 } } };
    const variant = (name: string): object => JSON.parse(readFileSync(new URL(`./fixtures/variants/${name}/config.json`, import.meta.url), 'utf8')) as object;
    const bases = [flat, JSON.parse(JSON.stringify(nested)) as object, variant('qwen2_vl'), variant('qwen3_vl')];
    let accepted = 0;
    for (let i = 0; i < RUNS; i++) {
      const json = mutateJson(bases[i % bases.length], next);
      const ok = attempt(json, () => {
        const config = parseConfig(json);
        // What is accepted is consistent, and survives being written.
        expect(config.numAttentionHeads % config.numKeyValueHeads).toBe(0);
        if (!config.mropeInterleaved) expect(config.mropeSection.reduce((a, b) => a + b, 0)).toBe(config.headDim / 2);
        for (const value of Object.values({ ...config, ...config.vision })) if (typeof value === 'number') expect(Number.isFinite(value)).toBe(true);
        expect(parseConfig(JSON.parse(JSON.stringify(configToJson(config))))).toEqual(config);
      });
      if (ok) accepted++;
    }
    expect(accepted).toBeGreaterThan(500);
    expect(accepted).toBeLessThan(RUNS * 0.9);
  });

  it('tokenizers', () => {
    const next = random(3);
    const text = 'the red circle is 12 left!\n<|im_end|> é🙂';
    const base = trainBpe([text, 'the red square, the blue circle'], { vocabSize: 275, specialTokens: ['<|endoftext|>', '<|im_end|>'] });
    const small = { ...base, model: { ...base.model, vocab: base.model.vocab } };
    const encode = (tokenizer: Tokenizer): string => tokenizer.decode(tokenizer.encode(text));
    let accepted = 0;
    for (let i = 0; i < RUNS; i++) {
      const json = mutateJson(small, next);
      const ok = attempt(json, () => {
        const tokenizer = Tokenizer.parse(json, {});
        const ids = tokenizer.encode(text);
        for (const id of ids) expect(Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize).toBe(true);
        expect(typeof encode(tokenizer)).toBe('string');
      });
      if (ok) accepted++;
    }
    expect(accepted).toBeGreaterThan(200);
    expect(accepted).toBeLessThan(RUNS * 0.95);
  });

  it('adapter and preprocessor configurations', () => {
    const next = random(4);
    const model = parseConfig(goldenJson('model/config.json'));
    const modules = linearModules(model);
    const adapter = { ...goldenJson('adapter_text/adapter_config.json'), rank_pattern: { q_proj: 2 }, alpha_pattern: { 'layers.0': 4 }, target_modules: ['q_proj', 'v_proj'], layers_to_transform: [0, 1], layers_pattern: ['layers'] };
    const preprocessor = goldenJson('model/preprocessor_config.json');
    let accepted = 0;
    for (let i = 0; i < RUNS; i++) {
      const json = mutateJson(i % 2 === 0 ? adapter : preprocessor, next);
      const ok = attempt(json, () => {
        if (i % 2 === 0) {
          for (const { r, scaling } of matchTargets(modules, parseLoraConfig(json))) expect(Number.isInteger(r) && r > 0 && Number.isFinite(scaling)).toBe(true);
        } else {
          const config = parsePreprocessorConfig(json, model);
          expect(config.minPixels).toBeLessThanOrEqual(config.maxPixels);
        }
      });
      if (ok) accepted++;
    }
    expect(accepted).toBeGreaterThan(500);
    expect(accepted).toBeLessThan(RUNS * 0.95);
  });

  it('images', async () => {
    const next = random(5);
    const folder = new URL('./fixtures/images/', import.meta.url);
    const bases = ['palette.png', 'grey.png', 'grey.jpg', 'lossy.webp', 'lossless.webp'].map((name) => new Uint8Array(readFileSync(new URL(name, folder))));
    let accepted = 0;
    const one = async (i: number): Promise<void> => {
      const bytes = mutateBytes(bases[i % bases.length] ?? new Uint8Array(0), next);
      try {
        const { width, height, data, channels } = await decodeImage(bytes);
        expect(data.length).toBe(width * height * (channels ?? 0));
        accepted++;
      } catch (error) {
        if (!(error instanceof ModelError)) throw new Error(`threw ${String(error)} for ${Buffer.from(bytes).toString('base64')}`, { cause: error });
      }
    };
    for (let i = 0; i < RUNS; i += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => one(i + k)));
    expect(accepted).toBeGreaterThan(500);
    expect(accepted).toBeLessThan(RUNS * 0.95);
  });
});
