/** @file The bars of the base that is shipped, on scenes, policies and questions that were never trained on. */
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openCheckpoint, parseConfig, requireText, SafetensorsFile, Tokenizer, VisionLanguageModel } from '@trimpi/model';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { measureRecipe } from '../src/base/measure.ts';
import type { PretrainResult } from '../src/base/pretrain.ts';
import { type PretrainRecipe, TINY_BASE_RECIPE } from '../src/base/recipes.ts';
import { drawScenes, ScenePool } from '../src/base/scenes.ts';
import { WordCodec } from '../src/index.ts';
import { tinyBase } from '../src/node.ts';

const device = await openDevice();
afterAll(() => device.dispose());

describe('the tiny base as it is shipped', () => {
  const base = tinyBase();

  it('is small, in float16, and of the recipe that trimpi pretrain has', async () => {
    const weights = fileURLToPath(new URL('../assets/tiny-base/model.safetensors', import.meta.url));
    expect(statSync(weights).size).toBeLessThan(16e6);
    const file = await SafetensorsFile.open((await base.open('model.safetensors'))!);
    let parameters = 0;
    for (const name of file.tensors.keys()) {
      const { dtype, shape } = file.info(name);
      expect(dtype, name).toBe('F16');
      parameters += shape.reduce((a, b) => a * b, 1);
    }
    expect(parameters).toBeGreaterThan(1e6);
    expect(parameters).toBeLessThan(4e6);
    const { recipe } = JSON.parse(await requireText(base, 'pretrain.json')) as { recipe: PretrainRecipe };
    expect(recipe).toEqual(TINY_BASE_RECIPE);
  });

  it('answers near-miss existence questions, and follows new policies of one to three levels in context', async () => {
    const model = new VisionLanguageModel(new WebGpuEngine(device), parseConfig(JSON.parse(await requireText(base, 'config.json'))));
    await model.load(await openCheckpoint(base));
    const { seed, measure: { scenes: count } } = TINY_BASE_RECIPE;
    const held = new ScenePool(model.config, await drawScenes({ seed, first: 1_000_000, count }, () => undefined));
    const scores = (await measureRecipe(model, new WordCodec(await Tokenizer.load(base)), TINY_BASE_RECIPE, held))!;
    model.dispose();
    console.log(`the shipped base: ${Object.entries(scores).map(([name, share]) => `${name} ${(100 * share).toFixed(1)} %`).join(', ')}`);
    expect(scores['exist']).toBeGreaterThanOrEqual(0.92);
    expect(scores['inContext N=1']).toBeGreaterThanOrEqual(0.95);
    expect(scores['inContext N=2']).toBeGreaterThanOrEqual(0.88);
    expect(scores['inContext N=3']).toBeGreaterThanOrEqual(0.8);
    // What pre-training wrote beside the weights is what they do, to a rounding that tips a question on another driver.
    const { scores: written } = JSON.parse(await requireText(base, 'pretrain.json')) as PretrainResult;
    for (const [name, share] of Object.entries(scores)) expect(Math.abs(share - written[name]!), name).toBeLessThan(0.02);
  }, 300_000);
});
