/** @file The benchmarks in compact words, for bases that know these and little else. */
import { compactGtaVocabulary, compactVocabulary } from '@trimpi/datasets';
import { type ModelFiles, openCheckpoint, parseConfig, requireText, Tokenizer, VisionLanguageModel } from '@trimpi/model';
import type { Engine } from '@trimpi/runtime';
import { requireWords, WordCodec } from '../base/words.ts';
import { type GtaRunData, makeGtaRunData, makeRunData, PromptWriter, type RunData } from '../data.ts';
import { measureCanonical, measureGtaCanonical } from '../evaluation/canonical.ts';
import { clevrShortcuts, gtaShortcuts } from '../evaluation/facts.ts';
import { makeGtaSuiteData, makeSuiteData, measureGtaSuite, measureSuite } from '../evaluation/suite.ts';
import type { FoundBaselines, Place, Watch, Writing } from './place.ts';
import { type Setting, settingTitle } from './rows.ts';
import type { ReproduceSettings } from './settings.ts';

export class CompactWriting implements Writing {
  readonly #base: ModelFiles;
  readonly #model: VisionLanguageModel;
  readonly #tokenizer: Tokenizer;
  readonly #writer: PromptWriter;

  private constructor(base: ModelFiles, model: VisionLanguageModel, tokenizer: Tokenizer) {
    this.#base = base;
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#writer = new PromptWriter(model, new WordCodec(tokenizer));
  }

  /** @throws PipelineError `invalid-option` for a base that lacks a word of the settings. */
  static async create(engine: Engine, base: ModelFiles, settings: readonly Setting[]): Promise<CompactWriting> {
    const tokenizer = await Tokenizer.load(base);
    const codec = new WordCodec(tokenizer);
    for (const setting of settings) {
      const words = setting.benchmark === 'gta' ? [...compactVocabulary(), ...compactGtaVocabulary()] : compactVocabulary({ depth: setting.n, demonstrations: setting.benchmark === 'clevr-m' });
      requireWords(codec, words, base.name, settingTitle(setting));
    }
    return new CompactWriting(base, new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(base, 'config.json')))), tokenizer);
  }

  async open({ benchmark, n }: Setting, seed: number, settings: ReproduceSettings, watch: Watch): Promise<Place> {
    const onProgress = (done: number, of: number) => {
      watch.onProgress(done, of);
      watch.check();
    };
    const [model, writer] = [this.#model, this.#writer];
    const reset = async () => model.load(await openCheckpoint(this.#base));
    const place = { model, reset, dispose: () => undefined };
    await reset();
    if (benchmark === 'gta') {
      const data = await makeGtaRunData(model, { ...settings, seed }, onProgress);
      const suite = await makeGtaSuiteData(model, data, settings.suiteSize);
      const task = writer.gtaTask(data);
      return { ...place, task, baselines: () => this.#gtaBaselines(data), measure: (context, aware) => measureGtaSuite({ ...context, model, task, writer }, data, suite, aware) };
    }
    const data = await makeRunData(model, { ...settings, n, seed, variant: benchmark === 'clevr-m' ? 'm' : 't' }, onProgress);
    const suite = await makeSuiteData(model, data, settings.suiteSize);
    const task = writer.task(data);
    return { ...place, task, baselines: () => this.#clevrBaselines(data), measure: (context, aware) => measureSuite({ ...context, model, task, writer }, data, suite, aware) };
  }

  dispose(): void {
    this.#model.dispose();
  }

  async #clevrBaselines({ dataset, train, test }: RunData): Promise<FoundBaselines> {
    const examples = (items: RunData['test']) => items.map((t) => t.example);
    const { shortcuts, ...rest } = clevrShortcuts(dataset, examples(train), examples(test));
    const [first] = test;
    return {
      ...rest, ...shortcuts,
      canonical: await measureCanonical(this.#model, this.#tokenizer, dataset, first!.images[0]!, first!.policyImages[0]),
    };
  }

  async #gtaBaselines(data: GtaRunData): Promise<FoundBaselines> {
    return { ...gtaShortcuts(data.dataset, data.train.map((t) => t.example), data.test.map((t) => t.example)), canonical: await measureGtaCanonical(this.#model, this.#tokenizer, data.test[0]!.images[0]!) };
  }
}
