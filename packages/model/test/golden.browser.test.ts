/** @file The golden cases of transformers and PEFT in a browser, on whatever WebGPU it has (SwiftShader in the tests' Chromium). */
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate, getRopeIndex, type GridThw, memoryFiles, readAdapter } from '../src/index.ts';
import { fetched, goldenCase, goldenModel, openGolden, readBytes, readJson } from './golden-cases.ts';

const CASES = ['case_single', 'case_batch_right_pad', 'case_text_only'];
const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

beforeAll(async () => {
  // Vite serves a URL made of a template from a glob of that one folder, so every folder has its own.
  const places: [string, URL][] = [
    ...[...CASES, 'generate_single', 'lora_text'].map((name): [string, URL] => [`${name}.safetensors`, new URL(`./fixtures/qwen25vl/${name}.safetensors`, import.meta.url)]),
    ...['config.json', 'model.safetensors'].map((name): [string, URL] => [`model/${name}`, new URL(`./fixtures/qwen25vl/model/${name}`, import.meta.url)]),
    ...['adapter_config.json', 'adapter_model.safetensors'].map((name): [string, URL] => [`adapter_text/${name}`, new URL(`./fixtures/qwen25vl/adapter_text/${name}`, import.meta.url)]),
  ];
  for (const [name, url] of places) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    fetched.set(name, new Uint8Array(await response.arrayBuffer()));
  }
});

function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < want.length; i++) most = Math.max(most, Math.abs(got[i]! - want[i]!));
  return Number.isNaN(most) ? Infinity : most;
}

describe('golden cases in this browser', () => {
  it.each(CASES)('%s: hidden states and logits', async (name) => {
    const { batch, get, tokenPlaces, length } = await goldenCase(name);
    const model = await goldenModel(engine);
    const out = await model.inspect(batch, ['text.layer.0', 'text.layer.1', 'logits']);
    for (const key of ['text.layer.0', 'text.layer.1']) {
      const want = await get(`fw.${key}`);
      tokenPlaces.forEach(([r, i], t) => expect(largest(out[key]!.subarray(t * 64, (t + 1) * 64), want.subarray((r * length + i) * 64, (r * length + i + 1) * 64)), key).toBeLessThan(5e-4));
    }
    const logits = await get('fw.logits');
    batch.predictors.forEach((token, i) => {
      const [r, at] = tokenPlaces[token]!;
      expect(largest(out['logits']!.subarray(i * 528, (i + 1) * 528), logits.subarray((r * length + at) * 528, (r * length + at + 1) * 528))).toBeLessThan(1e-3);
    });
    model.dispose();
  });

  it('gradients of a LoRA adapter', async () => {
    const golden = await openGolden('lora_text');
    const { batch } = await goldenCase('case_single', (label) => label >= 0);
    const model = await goldenModel(engine);
    const files = memoryFiles({ 'adapter_config.json': JSON.stringify(readJson('adapter_text/adapter_config.json')), 'adapter_model.safetensors': readBytes('adapter_text/adapter_model.safetensors') });
    model.loadAdapter('golden', await readAdapter(files, model.config));
    model.setTrainable({ adapter: 'golden' });
    const n = batch.targets.length;
    await model.accumulate(batch, new Float32Array(n).fill(-1 / n), { adapter: 'golden' });
    for (const [module, { loraA, loraB }] of await model.adapter('golden').read('gradients')) {
      for (const [part, got] of [['lora_A', loraA], ['lora_B', loraB]] as const) {
        (await golden.readFloat32(`single.grad.${module}.${part}.weight`)).forEach((g, i) => expect(Math.abs(got[i]! - g), `${module}.${part}[${i}]`).toBeLessThan(1e-3 * (1 + Math.abs(g))));
      }
    }
    model.dispose();
  });

  it('greedy generation', async () => {
    const golden = await openGolden('generate_single');
    const single = await openGolden('case_single');
    const model = await goldenModel(engine);
    const ids = Array.from(await golden.readFloat32('in.prompt_ids'));
    const grid = await single.readFloat32('in.image_grid_thw');
    const pixels = await single.readFloat32('in.pixel_values');
    const grids: GridThw[] = [[grid[0]!, grid[1]!, grid[2]!], [grid[3]!, grid[4]!, grid[5]!]];
    const first = grids[0]![0] * grids[0]![1] * grids[0]![2] * 1176;
    const images = [{ gridThw: grids[0]!, pixelValues: pixels.slice(0, first) }, { gridThw: grids[1]!, pixelValues: pixels.slice(first) }];
    const want = Array.from(await golden.readFloat32('out.sequences')).slice(ids.length);
    const [got] = await generate(model, [{ inputIds: ids, positionIds: getRopeIndex(ids, grids, model.config).positionIds, images }], { temperature: 0, maxNewTokens: want.length, stopIds: [], seed: 1 });
    expect(Array.from(got!.tokens)).toEqual(want);
    model.dispose();
  });
});
