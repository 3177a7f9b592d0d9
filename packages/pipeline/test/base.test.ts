/** @file What bases are trained on: pixels, scenes by leaf, rows and batches, here and in other processes. */
import { readdirSync, readFileSync } from 'node:fs';
import { clevrPolicy, compactGtaVocabulary, compactVocabulary, evaluateTree, leafPaths, sampleTree } from '@trimpi/datasets';
import { defaultPreprocessorConfig, packVisionInputs, patchify, type PixelImage, VisionLanguageModel } from '@trimpi/model';
import { openDevice, PhiloxStream, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { weightedBatch } from '../src/base/batches.ts';
import { BatchLayout, encodePool } from '../src/base/layout.ts';
import { type PretrainRecipe, recipeSizes, recipeWords, SMALL_BASE_RECIPE, textBatchMaker } from '../src/base/recipes.ts';
import { knownImages, PretrainingRows } from '../src/base/rows.ts';
import { SceneIndex } from '../src/base/scene-index.ts';
import { CropPool, drawScenes, type PixelPool, ScenePool } from '../src/base/scenes.ts';
import { scheduled } from '../src/base/schedule.ts';
import { makeTiny } from '../src/base/tiny.ts';
import { RowBuilder, WordCodec } from '../src/base/words.ts';
import { pretrainProcesses } from '../src/node/pretrain-processes.ts';

const recipe: PretrainRecipe = { ...SMALL_BASE_RECIPE, seed: 5, sizes: { hidden: 32, layers: 2, heads: 2, kvHeads: 1, intermediate: 48, visionHidden: 32, visionDepth: 2, visionHeads: 2, visionIntermediate: 48 }, text: { ...SMALL_BASE_RECIPE.text, batchTokens: 1500 } };
const words = recipeWords(recipe);
const { config, tokenizer } = makeTiny(recipeSizes(recipe), words);
const codec = new WordCodec(tokenizer);
const scenes = new ScenePool(config, await drawScenes({ seed: 5, first: 0, count: 60 }));
const crops = new CropPool(5, 96);
const known = knownImages(scenes, crops);
const device = await openDevice();
afterAll(() => device.dispose());

const patches = (pool: PixelPool, index: number, mirrored = false): PixelImage => {
  const { width, height } = pool;
  const rgb = pool.rgb(index);
  const seen = mirrored ? Uint8Array.from(rgb, (_, i) => rgb[3 * (Math.floor(i / (3 * width)) * width + width - 1 - (Math.floor(i / 3) % width)) + (i % 3)]!) : rgb;
  const { pixelValues, gridThw } = patchify(seen, width, height, defaultPreprocessorConfig(config));
  return { pixelValues, gridThw: gridThw as [number, number, number] };
};

describe('pixels', () => {
  it('land where the processor and the packing of the model would put them, mirrored ones and crops too', () => {
    const layout = new BatchLayout(config, [scenes, crops, scenes]);
    const { inputs } = packVisionInputs(config, [patches(scenes, 3), patches(crops, 7), patches(scenes, 4, true)]);
    const ours = layout.inputs([{ pool: scenes, index: 3 }, { pool: crops, index: 7 }, { pool: scenes, index: 4, mirrored: true }]);
    for (const [name, values] of Object.entries(inputs)) expect(ours[name], name).toEqual(values);
    expect(layout.cells).toBe(32 + 4 + 32);
  });

  it('become the features that encodeImages gives, a pool that does not fill its last batch too', async () => {
    const model = new VisionLanguageModel(new WebGpuEngine(device), config);
    model.initialise(1, (_, shape) => 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)));
    const few = scenes.first(5);
    const encoded = await encodePool(model, few, 3);
    const wanted = await model.encodeImages([0, 1, 2, 3, 4].map((i) => patches(few, i)));
    expect(encoded).toHaveLength(5);
    encoded.forEach((features, i) => features.forEach((x, k) => expect(Math.abs(x - wanted[i]!.features[k]!)).toBeLessThan(1e-4)));
    model.dispose();
  });

  it('a crop shows its object in the last of four cells', () => {
    // The ground is grey: a coloured object is where channels differ.
    const coloured = (pool: CropPool, i: number) => {
      const rgb = pool.rgb(i);
      let [n, x, y] = [0, 0, 0];
      for (let p = 0; p < 32 * 32; p++) {
        const [r, g, b] = [rgb[3 * p]!, rgb[3 * p + 1]!, rgb[3 * p + 2]!];
        if (Math.max(r, g, b) - Math.min(r, g, b) < 40) continue;
        n++;
        x += p % 32;
        y += Math.floor(p / 32);
      }
      return { n, x: x / n, y: y / n };
    };
    const seen = crops.types.flatMap((type, i) => (['red', 'blue', 'green', 'purple'].includes(type.color) ? [coloured(crops, i)] : []));
    expect(seen.length).toBe(48);
    for (const { n, x, y } of seen) {
      expect(n).toBeGreaterThan(20);
      expect(Math.abs(x - 20)).toBeLessThan(5);
      expect(Math.abs(y - 20)).toBeLessThan(5);
    }
    expect(crops.objects(3)).toEqual([undefined, undefined, undefined, crops.types[3]]);
  });
});

describe('scenes by leaf', () => {
  it('are those that lead there, each of them sooner or later; none is said to', () => {
    const index = new SceneIndex(scenes.scenes);
    const random = new PhiloxStream(3, 3);
    let empty = 0;
    for (const depth of [1, 2, 4, 6]) {
      const tree = sampleTree({ depth, seed: `index ${depth}` });
      const of = scenes.scenes.map((scene) => evaluateTree(tree, scene).leaf.index);
      leafPaths(tree).forEach((path, leaf) => {
        const there = of.flatMap((l, i) => (l === leaf ? [i] : []));
        const found = new Set(Array.from({ length: 40 * Math.max(1, there.length) }, () => index.pick(path, random)));
        if (there.length === 0) {
          empty++;
          expect([...found]).toEqual([undefined]);
        } else expect([...found].toSorted((a, b) => a! - b!)).toEqual(there);
      });
    }
    expect(empty).toBeGreaterThan(0);
  });
});

/** Helpers run from the sources here. */
const FROM_SOURCES = ['--import', 'tsx', '--conditions=@trimpi/source'];

describe('batches', () => {
  const maker = textBatchMaker(recipe, known);

  it('are functions of phase and number, and other processes make the same', async () => {
    const workers = pretrainProcesses(2, FROM_SOURCES);
    try {
      const drawn = await workers.draw({ seed: 5, first: 0, count: 60 });
      expect(drawn.rgb.slice(0, 3 * 128 * 64 * 60)).toEqual((await drawScenes({ seed: 5, first: 0, count: 60 })).rgb);
      const source = workers.batches(recipe, known);
      for (const [phase, index] of [['repeat', 0], ['drill', 2], ['mix', 0], ['mix', 1], ['mix', 30_000]] as const) {
        const batch = maker.batch(phase, index);
        expect(maker.batch(phase, index)).toEqual(batch);
        expect(await source(phase, index)).toEqual(batch);
        expect(batch.packed.tokens).toBeGreaterThanOrEqual(1500);
        expect(batch.weights).toHaveLength(batch.packed.targets.length);
        for (const i of batch.images) expect(i >= 0 ? i < 60 : -1 - i < 96).toBe(true);
      }
      expect(maker.batch('mix', 1)).not.toEqual(maker.batch('mix', 0));
    } finally {
      workers.dispose();
    }
  });

  it.skipIf(process.platform !== 'linux')('Ctrl-C of the terminal does not end the helpers before the run has saved; they end with it', async () => {
    const children = () => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).flatMap((pid) => {
      try {
        const parent = /\) \S+ (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
        return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('pretrain-worker') ? [Number(pid)] : [];
      } catch {
        return []; // It has ended meanwhile.
      }
    });
    const workers = pretrainProcesses(1, FROM_SOURCES);
    const source = workers.batches(recipe, known);
    await source('repeat', 0);
    const [child] = children();
    process.kill(child!, 'SIGINT');
    expect((await source('repeat', 5)).packed.tokens).toBeGreaterThan(0);
    workers.dispose();
    for (let i = 0; children().length > 0; i++) {
      expect(i).toBeLessThan(100);
      await new Promise((r) => setTimeout(r, 50));
    }
    await expect(source('drill', 0)).rejects.toThrow(/pretrain-worker/);
  });

  it('hold every kind of row of the mix, in words of the recipe alone', () => {
    const kinds = new Set(Array.from({ length: 12 }, (_, i) => maker.batch('mix', 1400 + i).kinds).flat());
    expect([...kinds].toSorted()).toEqual(['caption', 'drill', 'exist', 'gta', 'name', 'policy', 'rules', 'shown']);
    expect(words.filter((word) => codec.encode(word).length !== 1)).toEqual([]);
    expect(new Set(words)).toEqual(new Set([...compactVocabulary({ depth: 6, demonstrations: true }), ...compactGtaVocabulary()]));
  });

  it('a row of a policy is laid out as the prompts of a run are, and its policy weighs a fifth of its response at most', () => {
    const images = { scene: (i: number) => ({ gridThw: [1, 8, 16] as const, features: new Float32Array(32 * 32).fill(i) }), crop: (i: number) => ({ gridThw: [1, 4, 4] as const, features: new Float32Array(4 * 32).fill(-i) }) };
    const rows = new PretrainingRows(config, codec, known, images, words);
    for (let i = 0; i < 10; i++) {
      const e = rows.policyExample(new PhiloxStream(1, i), 4, true);
      const prompt = rows.prompt(e);
      const row = rows.row('shown', new PhiloxStream(1, i), 4);
      expect(row.ids.slice(0, prompt.ids.length)).toEqual(prompt.ids);
      expect(e.crops.length).toBe(e.policyText.split('<image>').length - 1);
      const response = codec.encode(e.response).length + 1;
      const weight = (from: number, to: number) => row.weights.slice(from, to).reduce((a, b) => a + b, 0);
      expect(weight(prompt.ids.length, row.ids.length)).toBe(response);
      expect(weight(0, prompt.ids.length)).toBeLessThanOrEqual(0.2 * response);
      const { batch, rowOf } = weightedBatch(config, [row]);
      expect(rowOf.filter((r) => r < 0).length).toBe(row.named.length);
      row.named.forEach(({ token, id }, k) => {
        const at = batch.predictors.length - row.named.length + k;
        expect([batch.predictors[at], batch.targets[at]]).toEqual([token, id]);
        expect(row.ids[token]).toBe(config.imageTokenId);
      });
    }
  });

  it('images of an interleaved text take its places, and no others', () => {
    const image = { gridThw: [1, 4, 4] as const, features: new Float32Array(4 * 32) };
    const ids = new RowBuilder(config, codec).interleaved('1 shape <image> ; 1.1 red ;', [image]).ids;
    expect(ids.filter((id) => id === config.imageTokenId)).toHaveLength(4);
    expect(codec.decode(ids.filter((id) => ![config.imageTokenId, config.visionStartTokenId, config.visionEndTokenId].includes(id)))).toBe('1 shape ; 1.1 red ;');
    expect(() => new RowBuilder(config, codec).interleaved('1 shape <image> ;', [])).toThrow(/1 places for 0 images/);
  });
});

describe('the rate', () => {
  it('rises, stays, and falls to a twentieth over the last two fifths, or as long as is said', () => {
    expect([1, 10, 60, 80, 100].map((s) => scheduled(1, s, 100, 10))).toEqual([0.1, 1, 1, 0.525, 1 - 0.95].map((x) => expect.closeTo(x, 12)));
    expect([60, 90, 95, 100].map((s) => scheduled(2, s, 100, 10, 10))).toEqual([2, 2, 1.05, 0.1].map((x) => expect.closeTo(x, 12)));
    // A fall that is cut short is a shorter one to a higher share.
    for (let k = 0; k <= 6; k++) expect(scheduled(1, 90 + k, 96, 10, 6, 1 - 0.95 * 0.6)).toBeCloseTo(scheduled(1, 90 + k, 100, 10, 10), 12);
  });
});

describe('policies with pictures in compact words', () => {
  it('show values by the attribute and a picture of it; the tree, the questions and the answers stay', () => {
    const options = { seed: 4, n: [2, 6], policies: 3, style: 'compact', train: 12, test: 0, width: 128, height: 96 } as const;
    const [plain, shown] = [clevrPolicy(options), clevrPolicy({ ...options, variant: 'm' })];
    shown.policies.forEach((policy, i) => {
      expect(policy.tree).toEqual(plain.policies[i]!.tree);
      const said = plain.policies[i]!.text.split(' ');
      const places = policy.text.split(' ; ').flatMap((entry, k) => (entry.endsWith('<image>') ? [k] : []));
      expect(policy.images).toHaveLength(places.length);
      expect(places.length).toBeGreaterThan(0);
      const entries = policy.text.split(' ; ').map((entry) => entry.replace(/ (color|material|shape) <image>/, ''));
      expect(said.join(' ').split(' ; ').map((entry, k) => (places.includes(k) ? entry.replace(/ \S+$/, '') : entry))).toEqual(entries);
      for (const image of policy.images) expect([image.width, image.height, image.rgb.length]).toEqual([32, 32, 3 * 32 * 32]);
    });
    for (let i = 0; i < 12; i++) expect(shown.example('train', i).response).toBe(plain.example('train', i).response);
  });
});
