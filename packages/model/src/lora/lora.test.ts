import { readFileSync } from 'node:fs';
import { PlanningEngine } from '@trimpi/runtime';
import { describe, expect, it } from 'vitest';
import { goldenBytes, goldenJson, goldenTensors } from '../../test/golden.ts';
import { parseConfig } from '../config.ts';
import { memoryFiles } from '../files/model-files.ts';
import { bytesSource } from '../safetensors/byte-source.ts';
import { canonicalKey, publishedKey } from '../safetensors/key-layout.ts';
import { SafetensorsFile } from '../safetensors/reader.ts';
import { serializeSafetensors, type TensorData } from '../safetensors/writer.ts';
import { LoraAdapter } from './adapter.ts';
import { loraConfig, loraScaling, parseLoraConfig } from './config.ts';
import { linearModules, otherModules } from './modules.ts';
import { adapterFiles, readAdapter, type LoraWeights } from './peft-files.ts';
import { matchTargets, requireLinearTargets } from './targets.ts';

const model = parseConfig(goldenJson('model/config.json'));
const modules = linearModules(model);
const configJson = goldenJson('adapter_text/adapter_config.json');
const golden = { 'adapter_config.json': JSON.stringify(configJson), 'adapter_model.safetensors': goldenBytes('adapter_text/adapter_model.safetensors') };

async function tensors(bytes: Uint8Array): Promise<Map<string, TensorData>> {
  const file = await SafetensorsFile.open(bytesSource(bytes));
  return new Map(await Promise.all([...file.tensors].map(async ([key, { dtype, shape }]) => [key, { dtype, shape, data: await file.readBytes(key) }] as const)));
}

/** The golden adapter with its keys or tensors changed. */
async function changed(change: (map: Map<string, TensorData>) => Map<string, TensorData>, config: object = {}): Promise<ReturnType<typeof memoryFiles>> {
  return memoryFiles({
    'adapter_config.json': JSON.stringify({ ...configJson, ...config }),
    'adapter_model.safetensors': serializeSafetensors(change(await tensors(golden['adapter_model.safetensors']))),
  });
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}

function count(options: Parameters<typeof loraConfig>[0]): number {
  return matchTargets(modules, loraConfig(options)).length;
}

function rename(from: string, to: string) {
  return (map: Map<string, TensorData>): Map<string, TensorData> => new Map([...map].map(([key, value]) => [key.replace(from, to), value]));
}

describe('linearModules', () => {
  it('has every matrix of the checkpoint but embedding and patches, with its shape', async () => {
    const file = await goldenTensors('model/model.safetensors');
    const expected = [...file.tensors.values()]
      .filter(({ shape, name }) => shape.length === 2 && !name.includes('embed_tokens'))
      .map(({ name, shape }) => ({ name: canonicalKey(name).replace(/\.weight$/, ''), outFeatures: shape[0], inFeatures: shape[1] }));
    expect(modules.filter(({ name }) => name !== 'lm_head').toSorted(byName)).toEqual(expected.toSorted(byName));
  });
});

/** Text sizes of published checkpoints; the vision tower is that of the golden model. */
function published(fields: object): number {
  const vision = { ...goldenJson<{ vision_config: object }>('model/config.json').vision_config, out_hidden_size: (fields as { hidden_size: number }).hidden_size };
  const config = parseConfig({ ...goldenJson<object>('model/config.json'), ...fields, vision_config: vision, rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] } });
  return matchTargets(linearModules(config), loraConfig()).reduce((sum, { r, inFeatures, outFeatures }) => sum + r * (inFeatures + outFeatures), 0);
}

describe('parameters of rank 8 on the text projections', () => {
  it('are as many as PEFT counts on the published models', () => {
    const b3 = published({ hidden_size: 2048, intermediate_size: 11008, num_hidden_layers: 36, num_attention_heads: 16, num_key_value_heads: 2 });
    const b7 = published({ hidden_size: 3584, intermediate_size: 18944, num_hidden_layers: 28, num_attention_heads: 28, num_key_value_heads: 4 });
    expect([b3, b7].map((n) => (n / 1e6).toFixed(1))).toEqual(['15.0', '20.2']);
  });
});

describe('matchTargets', () => {
  it('follows the rules of PEFT', () => {
    const suffixes = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
    // A string is matched against the whole path; the counts are those of PEFT on this model.
    expect(count({})).toBe(14);
    expect(count({ targetModules: suffixes })).toBe(23);
    expect(count({ targetModules: suffixes, excludeModules: '.*visual.*' })).toBe(14);
    expect(count({ targetModules: ['q_proj', 'v_proj'] })).toBe(4);
    expect(count({ targetModules: ['1.mlp.gate_proj'] })).toBe(2);
    expect(count({ targetModules: 'all-linear' })).toBe(modules.length - 1);
    expect(count({ targetModules: ['lm_head'] })).toBe(1);
    expect(count({ targetModules: ['q_proj', 'v_proj'], excludeModules: ['v_proj'] })).toBe(2);
    expect(count({ targetModules: 'ALL-LINEAR' })).toBe(31);
    // A pattern on the published paths is none on those in memory, which PEFT goes by.
    expect(count({ targetModules: suffixes, excludeModules: 'visual.*' })).toBe(23);
    // Paths of the published layout, as older adapters give them.
    expect(matchTargets(modules, loraConfig({ targetModules: ['model.layers.0.self_attn.q_proj', 'visual.blocks.0.attn.qkv'] }), 'published')).toHaveLength(2);
    expect(() => count({ targetModules: 'q_proj' })).toThrow(/matches no linear layer/);
    expect(() => count({ targetModules: '(' })).toThrow(/regular expression/);
  });

  it('has the flag of a pattern for either case from Python', () => {
    // Counted by PEFT 0.21.
    expect(count({ targetModules: '(?i).*Q_PROJ' })).toBe(2);
    expect(count({ targetModules: ['q_proj', 'v_proj'], excludeModules: '(?i).*V_PROJ' })).toBe(2);
  });

  it.each([['qwen2_vl'], ['qwen25_untied'], ['qwen3_vl']])('knows the modules of transformers that are no linear layers: %s', (name) => {
    const read = (file: string): unknown => JSON.parse(readFileSync(new URL(`../../test/fixtures/variants/${file}`, import.meta.url), 'utf8'));
    const other = otherModules(parseConfig(read(`${name}/config.json`)));
    expect(other.toSorted()).toEqual((read('other_modules.json') as Record<string, string[]>)[name]);
  });

  // PEFT 0.21 adapts the first two, which are an embedding and a convolution, and refuses the others.
  it.each<[string | string[], string]>([
    [['q_proj', 'embed_tokens'], 'model.language_model.embed_tokens'],
    [['proj'], 'model.visual.patch_embed.proj'],
    [['1', 'q_proj'], 'model.visual.merger.mlp.1'],
    [['q_proj', 'norm2'], 'model.visual.blocks.0.norm2'],
    [['q_proj', 'mlp'], 'model.language_model.layers.0.mlp'],
    ['.*attn.*', 'model.visual.blocks.0.attn'],
  ])('refuses to make an adapter of %j, which names what is no linear layer, unless it is left out', (targetModules, odd) => {
    const others = otherModules(model);
    expect(() => requireLinearTargets(model, loraConfig({ targetModules }))).toThrow(expect.objectContaining({ code: 'invalid-adapter', argument: 'lora.targetModules', value: odd, remedy: expect.stringContaining('excludeModules') as string }));
    expect(() => new LoraAdapter(new PlanningEngine(2 ** 27), model, 'a', loraConfig({ targetModules }))).toThrow(/no linear layer/);
    requireLinearTargets(model, loraConfig({ targetModules, excludeModules: others }));
    requireLinearTargets(model, loraConfig({ targetModules: 'all-linear' }));
  });

  it('refuses settings that are none, and says which may be meant', () => {
    expect(() => loraConfig({ loraAlpa: 3 } as never)).toThrow(expect.objectContaining({ code: 'invalid-adapter', argument: 'lora.loraAlpa', value: 3, remedy: 'Did you mean loraAlpha?' }));
    expect(() => loraConfig({ lora_dropout: 0.1 } as never)).toThrow(/loraDropout/);
  });

  it('is limited to layers as PEFT is', () => {
    const targetModules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
    // Counted by PEFT 0.21 on this model.
    expect(count({ targetModules, layersToTransform: [1] })).toBe(10);
    expect(count({ targetModules, layersToTransform: [1], layersPattern: ['layers'] })).toBe(7);
    expect(count({ targetModules, layersToTransform: [0, 2], layersPattern: ['blocks'] })).toBe(6);
    expect(count({ targetModules: [...targetModules, 'qkv'], layersToTransform: [2] })).toBe(4);
    expect(count({ targetModules: ['q_proj', 'mlp.2'], layersToTransform: [2, 0] })).toBe(1);
    expect(() => loraConfig({ layersToTransform: [1] })).toThrow(/list of targetModules/);
    expect(parseLoraConfig({ ...configJson, target_modules: targetModules, layers_to_transform: 1, layers_pattern: 'layers' })).toMatchObject({ layersToTransform: [1], layersPattern: ['layers'] });
    expect(parseLoraConfig({ ...configJson, layers_to_transform: [], layers_pattern: [] })).toMatchObject({ layersToTransform: null, layersPattern: null });
  });

  it('is limited to layers but for modules that are named in full, as in PEFT', () => {
    // What `check_target_module_exists` of PEFT 0.21 says true to, on the paths of this model.
    const up = (layer: number) => `model.language_model.layers.${layer}.mlp.up_proj`;
    const query = (layer: number) => `model.language_model.layers.${layer}.self_attn.q_proj`;
    const names = (options: Parameters<typeof loraConfig>[0]) => matchTargets(modules, loraConfig(options)).map(({ name }) => name);
    expect(names({ targetModules: [up(1), 'q_proj'], layersToTransform: [0] })).toEqual([query(0), up(1)]);
    expect(names({ targetModules: [up(1), 'q_proj'], layersToTransform: [1] })).toEqual([query(1), up(1)]);
    expect(names({ targetModules: [up(1), 'q_proj'], layersToTransform: [0], layersPattern: ['blocks'] })).toEqual([up(1)]);
    expect(names({ targetModules: [up(1), up(0), 'q_proj'], layersToTransform: [0], excludeModules: ['layers.0.mlp.up_proj'] })).toEqual([query(0), up(1)]);
    expect(names({ targetModules: ['model.visual.merger.mlp.0', 'q_proj'], layersToTransform: [0] }).toSorted()).toEqual([query(0), 'model.visual.merger.mlp.0']);
  });

  it('gives single modules their own rank and alpha; the first pattern counts', () => {
    const targets = matchTargets(modules, loraConfig({
      r: 4, loraAlpha: 8, targetModules: ['q_proj', 'k_proj'],
      rankPattern: { 'layers.0.self_attn.q_proj': 2, 'q_proj': 16, '_proj': 3 }, alphaPattern: { 'k_proj': 32 },
    }));
    expect(targets.map(({ r, alpha, scaling }) => [r, alpha, scaling])).toEqual([[2, 8, 4], [4, 32, 8], [16, 8, 0.5], [4, 32, 8]]);
    expect(loraScaling(16, 8, true)).toBe(2);
  });
});

describe('PEFT files', () => {
  it('are read with exact values, in the new and in the old key layout', async () => {
    const adapter = await readAdapter(memoryFiles(golden), model);
    expect(adapter.config).toMatchObject({ r: 4, loraAlpha: 8, loraDropout: 0, useDora: false, useRslora: false });
    expect(adapter.targets).toHaveLength(14);
    expect(adapter.targets.every(({ scaling }) => scaling === 2)).toBe(true);
    const file = await goldenTensors('adapter_text/adapter_model.safetensors');
    for (const [name, { loraA, loraB }] of adapter.weights) {
      expect(loraA).toEqual(await file.readFloat32(`base_model.model.${name}.lora_A.weight`));
      expect(loraB).toEqual(await file.readFloat32(`base_model.model.${name}.lora_B.weight`));
    }
    const old = await changed((map) => new Map([...map].map(([key, value]) => [`base_model.model.${publishedKey(key.slice('base_model.model.'.length), 'qwen2_5_vl')}`, value])), { target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', '0.mlp.gate_proj', '1.mlp.gate_proj', 'up_proj', 'down_proj'], exclude_modules: '^visual.*' });
    const read = await readAdapter(old, model);
    expect(read.weights).toEqual(adapter.weights);
    // Written again, its patterns and its keys are those of today.
    expect(await readAdapter(memoryFiles(adapterFiles(read)), model)).toEqual(read);
    expect(matchTargets(modules, read.config)).toEqual(read.targets);
  });

  it('are read when a module is named in full beside a limit to layers', async () => {
    const named = 'model.language_model.layers.1.mlp.up_proj';
    const kept = ['model.language_model.layers.0.self_attn.q_proj', named];
    const files = await changed((map) => new Map([...map].filter(([key]) => kept.some((name) => key.startsWith(`base_model.model.${name}.`)))), { target_modules: [named, 'q_proj'], layers_to_transform: [0] });
    const adapter = await readAdapter(files, model);
    expect(adapter.targets.map(({ name }) => name)).toEqual(kept);
    expect(await readAdapter(memoryFiles(adapterFiles(adapter)), model)).toEqual(adapter);
  });

  it('are written with the bytes that PEFT writes', async () => {
    const adapter = await readAdapter(memoryFiles(golden), model);
    const files = adapterFiles(adapter, './model');
    expect(Buffer.compare(files['adapter_model.safetensors'], golden['adapter_model.safetensors'])).toBe(0);
    const written = JSON.parse(files['adapter_config.json']) as Record<string, unknown>;
    for (const [key, value] of Object.entries(written)) expect(configJson[key], key).toEqual(value);
    expect(await readAdapter(memoryFiles(files), model)).toEqual(adapter);
  });

  it('round-trip with DoRA, rsLoRA and patterns', async () => {
    const config = loraConfig({ r: 3, loraAlpha: 5, loraDropout: 0.1, useDora: true, useRslora: true, targetModules: ['q_proj', 'qkv', 'merger.mlp.0'], rankPattern: { qkv: 2 }, alphaPattern: { q_proj: 7 } });
    const targets = matchTargets(modules, config);
    let next = 0;
    const fill = (size: number): Float32Array => Float32Array.from({ length: size }, () => Math.sin(next++));
    const weights = new Map(targets.map((t): [string, LoraWeights] => [t.name, { loraA: fill(t.r * t.inFeatures), loraB: fill(t.outFeatures * t.r), magnitude: fill(t.outFeatures) }]));
    const adapter = { config, targets, weights };
    const files = adapterFiles(adapter);
    expect([...(await tensors(files['adapter_model.safetensors'])).keys()]).toContain('base_model.model.model.visual.merger.mlp.0.lora_magnitude_vector');
    expect(await readAdapter(memoryFiles(files), model)).toEqual(adapter);
    expect(() => adapterFiles({ ...adapter, weights: new Map() })).toThrow(/not all weights/);
  });

  it.each<[string, (map: Map<string, TensorData>) => Map<string, TensorData>, object]>([
    ['a module the model does not have', rename('layers.1.self_attn.q_proj', 'layers.7.self_attn.q_proj'), {}],
    ['keys without their prefix', rename('base_model.model.', ''), {}],
    ['a key of something else', rename('lora_A.weight', 'lora_embedding_A'), {}],
    ['a module that is not targeted', (map) => map, { target_modules: ['q_proj'] }],
    ['a target without weights', (map) => new Map([...map].slice(2)), {}],
    ['another rank', (map) => map, { r: 8 }],
    ['DoRA without magnitudes', (map) => map, { use_dora: true }],
    ['magnitudes without DoRA', (map) => new Map([...map, ['base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_magnitude_vector', { dtype: 'F32', shape: [64], data: new Uint8Array(256) }]]), {}],
  ])('are refused with %s', async (_name, change, config) => {
    await expect(readAdapter(await changed(change, config), model)).rejects.toMatchObject({ name: 'ModelError', code: 'invalid-adapter' });
  });

  it.each([{ peft_type: 'LOHA' }, { bias: 'all' }, { modules_to_save: ['lm_head'] }, { kasa_config: {} , use_qalora: true }, { init_lora_weights: 'pissa_niter_4' }])('refuses the setting %j', (setting) => {
    expect(() => parseLoraConfig({ ...configJson, ...setting })).toThrowError(expect.objectContaining({ code: 'unsupported' }));
  });

  it.each([{ r: 0 }, { r: 'a' }, { lora_dropout: 1 }, { target_modules: [] }, { target_modules: null }, { target_modules: 5 }, { rank_pattern: { a: 'b' } }, { rank_pattern: { a: 0 } }, { layers_to_transform: 'a' }])('refuses the value %j', (setting) => {
    expect(() => parseLoraConfig({ ...configJson, ...setting })).toThrowError(expect.objectContaining({ code: 'invalid-adapter' }));
  });
});
