/** @file How well a base reads. */
import { existenceQuestions, OBJECT_TYPES } from '@trimpi/datasets';
import { type BatchImage, generate, type VisionLanguageModel } from '@trimpi/model';
import { PhiloxStream } from '@trimpi/runtime';
import { weightedBatch } from './batches.ts';
import { encodePool } from './layout.ts';
import type { PretrainRecipe } from './recipes.ts';
import { type ContextExample, type KnownImages, knownImages, PretrainingRows, type RowImages } from './rows.ts';
import { CropPool, type PixelPool, type ScenePool } from './scenes.ts';
import { RowBuilder, type WordCodec } from './words.ts';

export interface Measurement {
  /** Depths of policies in words, and of those that show values by pictures. */
  readonly depths: readonly number[];
  readonly shownDepths?: readonly number[];
  /** Whether it is asked of GTAPolicy's rules, too. */
  readonly gta?: boolean;
  readonly perDepth: number;
  readonly seed: number;
}

/** `measureBase` on the scenes that a recipe keeps for it, and on crops that were not trained on; undefined after the signal. */
export async function measureRecipe(model: VisionLanguageModel, codec: WordCodec, recipe: PretrainRecipe, held: ScenePool, signal?: AbortSignal): Promise<Record<string, number> | undefined> {
  const { seed, measure, vision: { cropPool = 0 } } = recipe;
  const crops = cropPool > 0 ? new CropPool(seed + 1, Math.max(OBJECT_TYPES.length, Math.ceil(cropPool / 10))) : undefined;
  const scenes = await encodePool(model, held, 64, signal);
  const shown = crops === undefined ? [] : await encodePool(model, crops, 64, signal);
  if (signal?.aborted === true) return undefined;
  const { patchSize } = model.config.vision;
  const image = ({ width, height }: PixelPool, features: Float32Array): BatchImage => ({ gridThw: [1, height / patchSize, width / patchSize], features });
  return measureBase(model, codec, knownImages(held, crops), { scene: (i) => image(held, scenes[i]!), crop: (i) => image(crops!, shown[i]!) }, { ...measure, perDepth: measure.policies, seed });
}

/** Near-miss existence questions, and new policies in context by depth (greedy), on scenes given: shares of right answers. */
export async function measureBase(model: VisionLanguageModel, codec: WordCodec, known: KnownImages, images: RowImages, { depths, shownDepths = [], gta = false, perDepth, seed }: Measurement): Promise<Record<string, number>> {
  const out: Record<string, number> = { exist: await measureExistence(model, codec, known, images, seed) };
  const rows = new PretrainingRows(model.config, codec, known, images, []);
  const inContext = async (name: string, maxNewTokens: number, example: (random: PhiloxStream) => ContextExample) => {
    const random = new PhiloxStream(seed, 0x3ea50000 + Object.keys(out).length);
    out[`inContext ${name}`] = await measurePolicies(model, codec, rows, { count: perDepth, maxNewTokens }, () => example(random));
  };
  for (const depth of depths) await inContext(`N=${depth}`, 10 * depth + 16, (random) => rows.policyExample(random, depth));
  for (const depth of shownDepths) await inContext(`N=${depth} M`, 10 * depth + 16, (random) => rows.policyExample(random, depth, true));
  if (gta) await inContext('GTA', 56, (random) => rows.gtaExample(random));
  return out;
}

async function measureExistence(model: VisionLanguageModel, codec: WordCodec, { scenes }: KnownImages, images: RowImages, seed: number): Promise<number> {
  const [yes, no] = ['yes', 'no'].map((w) => codec.encode(w)[0]!) as [number, number];
  let right = 0;
  let asked = 0;
  for (let i = 0; i < scenes.length; i += 16) {
    const rows: RowBuilder[] = [];
    const answers: number[] = [];
    for (let s = i; s < Math.min(i + 16, scenes.length); s++) {
      for (const q of existenceQuestions(scenes[s]!, { seed: `measure ${seed} ${s}`, count: 4 })) {
        for (const id of [yes, no]) rows.push(new RowBuilder(model.config, codec).image(images.scene(s)).text(q.question).tokens([id], 1));
        answers.push(q.answer === 'yes' ? yes : no);
      }
    }
    const { batch } = weightedBatch(model.config, rows);
    const { logp } = await model.score(batch);
    answers.forEach((a, k) => {
      asked++;
      if ((logp[2 * k]! > logp[2 * k + 1]!) === (a === yes)) right++;
    });
  }
  return right / asked;
}

async function measurePolicies(model: VisionLanguageModel, codec: WordCodec, rows: PretrainingRows, { count, maxNewTokens }: { readonly count: number; readonly maxNewTokens: number }, example: () => ContextExample): Promise<number> {
  let hits = 0;
  for (let done = 0; done < count; done += 64) {
    const items = Array.from({ length: Math.min(64, count - done) }, example);
    const completions = await generate(model, items.map((e) => rows.prompt(e).sequence()), { temperature: 0, maxNewTokens, stopIds: [model.config.eosTokenId!], seed: 0 });
    completions.forEach((c, k) => {
      if (codec.decode(c.tokens).endsWith(`\\boxed{ ${items[k]!.answer} }`)) hits++;
    });
  }
  return hits / count;
}
