import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { parseConfig, SafetensorsFile, bytesSource } from '@trimpi/model';
import { afterAll, describe, expect, it } from 'vitest';
import { pretrain, type PretrainEvent } from '../src/base/pretrain.ts';
import { type PretrainRecipe, TINY_BASE_RECIPE } from '../src/base/recipes.ts';
import { memoryStorage } from '../src/index.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const RECIPE: PretrainRecipe = {
  seed: 3,
  sizes: { hidden: 32, layers: 2, heads: 2, kvHeads: 1, intermediate: 48, visionHidden: 32, visionDepth: 2, visionHeads: 2, visionIntermediate: 48 },
  policies: { depth: 5, demonstrations: true, gta: true },
  vision: { scenes: 24, steps: 4, batch: 8, crops: 4, cropPool: 96, learningRate: 2e-3 },
  text: { scenes: 24, learningRate: 2e-3, batchTokens: 400, repeatTokens: 800, drillTokens: 800, drillDepth: 5, mix: [{ tokens: 1000, drill: 0.1, exist: 0.4, short: 0.5, caption: 0.1, depths: [0.5, 0.5], shown: 0.5, gta: 0.3 }] },
  measure: { scenes: 16, policies: 8, depths: [1], shownDepths: [2], gta: true },
};

describe('pretraining the tiny base', () => {
  it('goes through all stages, and stopped anywhere goes on to the same bits', async () => {
    const whole = memoryStorage();
    const events: PretrainEvent[] = [];
    const result = await pretrain({ engine, storage: whole, recipe: RECIPE, onEvent: (e) => events.push(e) });
    expect(result!.vision.allFour).toBeGreaterThanOrEqual(0);
    for (const name of ['exist', 'inContext N=1', 'inContext N=2 M', 'inContext GTA']) expect(result!.scores).toHaveProperty([name]);
    const steps = events.filter((e) => e.kind === 'step');
    expect([...new Set(steps.map((e) => e.stage))]).toEqual(['vision', 'repeat', 'drill', 'mix']);
    expect(steps.filter((e) => e.stage === 'vision')).toHaveLength(4);
    expect(events.filter((e) => e.kind === 'aligned')).toHaveLength(1);

    // A new trainer each time: stopped in vision, then in the drills.
    const pieces = memoryStorage();
    let ended: unknown;
    let runs = 0;
    for (const stopAfter of [3, 3, Infinity]) {
      const stop = new AbortController();
      let seen = 0;
      ended = await pretrain({ engine, storage: pieces, recipe: RECIPE, signal: stop.signal, checkpointEvery: 1000, onEvent: (e) => e.kind === 'step' && ++seen >= stopAfter && stop.abort() });
      runs++;
      if (ended !== undefined) break;
    }
    expect(runs).toBe(3);
    expect(ended).toEqual(result);
    for (const file of ['model.safetensors', 'config.json', 'tokenizer.json', 'pretrain.json']) expect(pieces.files.get(file), file).toEqual(whole.files.get(file));

    // Given again, there is nothing to do; another recipe does not write over it.
    const again: PretrainEvent[] = [];
    expect(await pretrain({ engine, storage: pieces, recipe: RECIPE, onEvent: (e) => again.push(e) })).toEqual(result);
    expect(again).toEqual([]);
    await expect(pretrain({ engine, storage: pieces, recipe: { ...RECIPE, seed: 4 } })).rejects.toThrow(/pretrain\.json: is of a base made with another recipe/);

    // What is written is a base: float16, published keys, a config that reads.
    const model = await SafetensorsFile.open(bytesSource(whole.files.get('model.safetensors')!, 'model'));
    expect(model.info('visual.patch_embed.proj.weight').dtype).toBe('F16');
    expect(parseConfig(JSON.parse(new TextDecoder().decode(whole.files.get('config.json')!))).hiddenSize).toBe(32);
  }, 900_000);

  it.each(['vision', 'text'] as const)('a loss that is no number ends it, named, with what was saved before: %s', async (stage) => {
    const storage = memoryStorage();
    const recipe = { ...RECIPE, [stage]: { ...RECIPE[stage], learningRate: 1e30 } };
    await expect(pretrain({ engine, storage, recipe, checkpointEvery: 1 })).rejects.toMatchObject({ name: 'PipelineError', code: 'diverged', argument: expect.stringMatching(stage === 'vision' ? /^step \d \(vision\)$/ : /^step \d \(repeat\)$/) });
    expect([...storage.files.keys()]).not.toContain('model.safetensors');
    // What is saved is of before.
    for (const [name, data] of storage.files) if (name.endsWith('.safetensors')) {
      const saved = await SafetensorsFile.open(bytesSource(data, name));
      for (const tensor of saved.tensors.keys()) expect((await saved.readFloat32(tensor)).every(Number.isFinite), tensor).toBe(true);
    }
  });

  it('stopped while scenes are drawn, it ends there', async () => {
    const storage = memoryStorage();
    const stop = new AbortController();
    const events: PretrainEvent[] = [];
    // Long enough for a first word of progress.
    const ended = await pretrain({ engine, storage, recipe: { ...RECIPE, vision: { ...RECIPE.vision, scenes: 1500 }, text: { ...RECIPE.text, scenes: 1500 } }, signal: stop.signal, onEvent: (e) => { events.push(e); stop.abort(); } });
    expect(ended).toBeUndefined();
    expect(events).toEqual([{ kind: 'drawn', scenes: 500, of: 1500 }]);
    expect([...storage.files.keys()]).toEqual([]);
  });

  it('refuses the checkpoint of another recipe', async () => {
    const storage = memoryStorage();
    const stop = new AbortController();
    await pretrain({ engine, storage, recipe: RECIPE, signal: stop.signal, onEvent: (e) => e.kind === 'step' && stop.abort() });
    await expect(pretrain({ engine, storage, recipe: { ...RECIPE, seed: 4 } })).rejects.toMatchObject({ code: 'invalid-checkpoint' });
  });

  it('has a recipe whose budget is that of the shipped base', () => {
    expect(TINY_BASE_RECIPE.text.mix.reduce((n, p) => n + p.tokens, 0)).toBe(5_000_000);
  });
});
