/** @file How well a base reads. */
import { existenceQuestions } from '@trimpi/datasets';
import { generate, type VisionLanguageModel } from '@trimpi/model';
import { type ContextExample, PretrainingRows, type PretrainingScenes, weightedBatch } from './rows.ts';
import { RowBuilder, type WordCodec } from './words.ts';

export interface Measurement {
  /** Depths of policies in words, and of those that show values by pictures. */
  readonly depths: readonly number[];
  readonly shownDepths?: readonly number[];
  readonly perDepth: number;
  readonly seed: number;
}

/** Near-miss existence questions, and new policies in context by depth (greedy), on scenes given: shares of right answers. */
export async function measureBase(model: VisionLanguageModel, codec: WordCodec, data: PretrainingScenes, { depths, shownDepths = [], perDepth, seed }: Measurement): Promise<Record<string, number>> {
  const out: Record<string, number> = { exist: await measureExistence(model, codec, data, seed) };
  const inContext = async (name: string, depth: number, shown: boolean) => {
    const source = new PretrainingRows(model, codec, data, seed + depth + (shown ? 100 : 0), []);
    out[name] = await measurePolicies(model, codec, data, { count: perDepth, maxNewTokens: 10 * depth + 16 }, () => source.policyExample(depth, shown));
  };
  for (const depth of depths) await inContext(`inContext N=${depth}`, depth, false);
  for (const depth of shownDepths) await inContext(`inContext N=${depth} M`, depth, true);
  return out;
}

async function measureExistence(model: VisionLanguageModel, codec: WordCodec, data: PretrainingScenes, seed: number): Promise<number> {
  const [yes, no] = ['yes', 'no'].map((w) => codec.encode(w)[0]!) as [number, number];
  let right = 0;
  let asked = 0;
  for (let i = 0; i < data.scenes.length; i += 16) {
    const rows: RowBuilder[] = [];
    const answers: number[] = [];
    for (let s = i; s < Math.min(i + 16, data.scenes.length); s++) {
      for (const q of existenceQuestions(data.scenes[s]!, { seed: `measure ${seed} ${s}`, count: 4 })) {
        for (const id of [yes, no]) rows.push(new RowBuilder(model.config, codec).image(data.features[s]!).text(q.question).tokens([id], 1));
        answers.push(q.answer === 'yes' ? yes : no);
      }
    }
    const { batch } = weightedBatch(model, rows);
    const { logp } = await model.score(batch);
    answers.forEach((a, k) => {
      asked++;
      if ((logp[2 * k]! > logp[2 * k + 1]!) === (a === yes)) right++;
    });
  }
  return right / asked;
}

async function measurePolicies(model: VisionLanguageModel, codec: WordCodec, data: PretrainingScenes, { count, maxNewTokens }: { readonly count: number; readonly maxNewTokens: number }, example: () => ContextExample): Promise<number> {
  let hits = 0;
  for (let done = 0; done < count; done += 64) {
    const items = Array.from({ length: Math.min(64, count - done) }, example);
    const prompts = items.map((e) => new RowBuilder(model.config, codec).interleaved(e.policyText, e.policyImages).image(data.features[e.scene]!).text(e.query).sequence());
    const completions = await generate(model, prompts, { temperature: 0, maxNewTokens, stopIds: [model.config.eosTokenId!], seed: 0 });
    completions.forEach((c, k) => {
      if (codec.decode(c.tokens).endsWith(`\\boxed{ ${items[k]!.answer} }`)) hits++;
    });
  }
  return hits / count;
}
