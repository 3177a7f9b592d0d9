/**
 * @file The paper's table: every row of every seed is a file of its own, so that the whole can be made in pieces. What
 * rows share (VM-CPT, SFT) is trained once for each seed; every RL row samples the same number of rollouts.
 */
import { majorityAccuracy, type RlReport, tablesMarkdown } from '@trimpi/eval';
import { compactGtaVocabulary, compactVocabulary, shortcutBaselines } from '@trimpi/datasets';
import { type ModelFiles, openCheckpoint, parseConfig, requireText, Tokenizer, VisionLanguageModel } from '@trimpi/model';
import type { Engine } from '@trimpi/runtime';
import { requireWords, WordCodec } from '../base/words.ts';
import { type GtaRunData, makeGtaRunData, makeRunData, PromptWriter, type RunData } from '../data.ts';
import { PipelineError } from '../errors.ts';
import { measureCanonical, measureGtaCanonical } from '../evaluation/canonical.ts';
import { makeGtaSuiteData, makeSuiteData, measureGtaSuite, measureSuite, type SuiteContext, type SuiteReport } from '../evaluation/suite.ts';
import { checkedStorage, type RunStorage } from '../storage.ts';
import type { Task } from '../task.ts';
import { interrupt, type TrainContext } from '../train/context.ts';
import { rlReport, trainRl } from '../train/reinforce.ts';
import { type SupervisedKind, trainSupervised } from '../train/supervised.ts';
import { loadWeights, saveWeights } from '../weights.ts';
import { resultsPage } from './page.ts';
import { type Baselines, type ReproduceResults, type RowResult, settingOf, summariseRows, testOrderings } from './results.ts';
import { type Benchmark, BENCHMARKS, rlOf, ROWS, type RowName, rowTitle, type Setting, settingFolder, settingTitle, type SupervisedRowName } from './rows.ts';
import { type ReproduceSettings, type Scale, scaleSettings } from './settings.ts';

export type ReproduceEvent =
  | { readonly type: 'note'; readonly text: string }
  /** A row begins; `secondsLeft` is a guess from the rows done so far. */
  | { readonly type: 'row'; readonly setting: string; readonly n: number; readonly seed: number; readonly row: RowName; readonly title: string; readonly done: number; readonly of: number; readonly secondsLeft: number | null }
  | { readonly type: 'step'; readonly stage: string; readonly step: number; readonly steps: number; readonly value: string }
  | { readonly type: 'result'; readonly setting: string; readonly n: number; readonly seed: number; readonly row: RowName; readonly accuracy: number };

export interface ReproduceOptions {
  readonly scale: Scale;
  /** Depths of ClevrPolicy's trees. */
  readonly n: number | readonly number[];
  /** Default: ClevrPolicy with policies in words. */
  readonly benchmarks?: readonly Benchmark[];
  readonly seeds: readonly number[];
  /** Default: all. */
  readonly rows?: readonly RowName[];
  readonly engine: Engine;
  readonly adapterName: string;
  readonly base: ModelFiles;
  readonly storage: RunStorage;
  /** Over the settings of the scale. */
  readonly settings?: Partial<ReproduceSettings>;
  readonly onEvent?: (event: ReproduceEvent) => void;
  /** Stops after the current step, with everything saved; the promise rejects with `interrupted`. */
  readonly signal?: AbortSignal;
}

/** Makes the rows that are missing, and the table of all that are there (`results.json`, `results.md`, `results.html`). */
export async function reproduceRows(options: ReproduceOptions): Promise<ReproduceResults> {
  return new Reproduction(options).execute();
}

/** One seed of a setting, with its data. */
interface Place {
  readonly setting: Setting;
  readonly seed: number;
  readonly settings: ReproduceSettings;
  readonly storage: RunStorage;
  readonly task: Task;
  measure(context: SuiteContext, policyInPrompt: boolean): Promise<SuiteReport>;
}

class Reproduction {
  readonly #o: ReproduceOptions;
  readonly #storage: RunStorage;
  readonly #emit: (event: ReproduceEvent) => void;
  readonly #rows: readonly RowName[];
  readonly #settings: readonly Setting[];
  readonly #results: RowResult[] = [];
  readonly #baselines: Baselines[] = [];
  #model!: VisionLanguageModel;
  #writer!: PromptWriter;
  #tokenizer!: Tokenizer;

  constructor(options: ReproduceOptions) {
    this.#o = options;
    this.#storage = checkedStorage(options.storage);
    this.#emit = options.onEvent ?? (() => undefined);
    const depths = typeof options.n === 'number' ? [options.n] : options.n;
    const benchmarks = options.benchmarks ?? ['clevr-t'];
    const strange = benchmarks.find((b) => !BENCHMARKS.includes(b));
    if (benchmarks.length === 0 || strange !== undefined) throw new PipelineError('invalid-option', 'benchmarks', strange === undefined ? 'is empty.' : `holds ${strange}.`, `Known: ${BENCHMARKS.join(', ')}.`);
    this.#settings = benchmarks.flatMap((benchmark): Setting[] => (benchmark === 'gta' ? [{ benchmark, n: 0 }] : depths.map((n) => ({ benchmark, n }))));
    const unknown = (options.rows ?? []).find((r) => !ROWS.includes(r));
    if (unknown !== undefined) throw new PipelineError('invalid-option', 'rows', `holds ${unknown}.`, `Known: ${ROWS.join(', ')}.`);
    this.#rows = ROWS.filter((r) => options.rows === undefined || options.rows.includes(r));
    const check = (name: string, values: readonly number[], low: number, high: number) => {
      const bad = values.find((v) => !Number.isInteger(v) || v < low || v > high);
      if (values.length === 0 || bad !== undefined) throw new PipelineError('invalid-option', name, values.length === 0 ? 'is empty.' : `holds ${bad}.`, `Give whole numbers from ${low} to ${high}.`);
    };
    check('n', depths, 2, 6);
    check('seeds', options.seeds, 0, 2 ** 32 - 1);
  }

  async execute(): Promise<ReproduceResults> {
    const { base, engine, seeds } = this.#o;
    await this.#checkSettings();
    const places = this.#settings.flatMap((setting) => seeds.map((seed) => ({ setting, seed })));
    for (const { setting, seed } of places) for (const row of ROWS) await this.#load(setting, seed, row);
    this.#tokenizer = await Tokenizer.load(base);
    this.#checkWords(base.name);
    this.#model = new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(base, 'config.json'))));
    try {
      this.#writer = new PromptWriter(this.#model, new WordCodec(this.#tokenizer));
      for (const { setting, seed } of places) {
        const missing = this.#rows.filter((row) => this.#find(setting, seed, row) === undefined);
        const baselines = await readJson<Baselines>(this.#storage, `${folder(setting, seed)}/baselines.json`);
        if (baselines !== null) this.#baselines.push(baselines);
        if (missing.length === 0) continue;
        const place = await this.#place(setting, seed, baselines === null);
        for (const row of missing) {
          await this.#row(place, row);
          await this.#write(false);
        }
      }
      return await this.#write(true);
    } finally {
      this.#model.dispose();
    }
  }

  /** Every word of the settings is one token of the base. */
  #checkWords(base: string): void {
    const codec = new WordCodec(this.#tokenizer);
    for (const setting of this.#settings) {
      const words = setting.benchmark === 'gta' ? [...compactVocabulary(), ...compactGtaVocabulary()] : compactVocabulary({ depth: setting.n, demonstrations: setting.benchmark === 'clevr-m' });
      requireWords(codec, words, base, settingTitle(setting));
    }
  }

  // ---- rows

  async #row(place: Place, row: RowName): Promise<void> {
    const { setting, seed, settings, storage } = place;
    const head = { setting: settingTitle(setting), n: setting.n, seed, row };
    this.#emit({ type: 'row', ...head, title: rowTitle(row), ...this.#progress() });
    const begin = performance.now();
    let rl: RlReport | undefined;
    let trainSeconds = 0;
    const arm = rlOf(row);
    if (row === 'in-context') await this.#loadBase();
    else if (arm === undefined) trainSeconds = await this.#start(place, row as SupervisedRowName);
    else {
      await this.#start(place, arm.start);
      await loadWeights(storage, `${arm.start}.safetensors`, this.#model);
      const trained = await trainRl(this.#context(place, row), { stage: row, title: rowTitle(row), algorithm: arm.algorithm, settings: settings.rl });
      rl = rlReport(trained.metrics);
      trainSeconds = trained.seconds;
    }
    const trainedAt = performance.now();
    const suite = await place.measure({
      model: this.#model, task: place.task, writer: this.#writer, maxNewTokens: settings.rl.maxNewTokens,
      check: async () => {
        if (this.#o.signal?.aborted === true) interrupt(`evaluation of ${rowTitle(row)}`, this.#storage);
      },
    }, row === 'in-context');
    const result: RowResult = { row, ...setting, seed, adapter: this.#o.adapterName, suite, ...(rl === undefined ? {} : { rl }), trainSeconds: Math.max(trainSeconds, (trainedAt - begin) / 1000), evaluationSeconds: (performance.now() - trainedAt) / 1000 };
    await this.#storage.write(rowFile(setting, seed, row), JSON.stringify(result));
    this.#results.push(result);
    this.#emit({ type: 'result', ...head, accuracy: (row === 'in-context' ? suite.policyInContext : suite.accuracy).accuracy });
  }

  /** The weights that RL starts from, trained unless they are there; the model holds them then. Returns the seconds it took. */
  async #start(place: Place, start: SupervisedRowName): Promise<number> {
    if (await loadWeights(place.storage, `${start}.safetensors`, this.#model)) return 0;
    let seconds = 0;
    const train = async (stage: string, kind: SupervisedKind) => {
      const settings = { 'vm-cpt': place.settings.vmCpt, cpt: place.settings.vmCpt, 'cot-sft': place.settings.sft, 'direct-sft': place.settings.directSft }[kind];
      seconds += (await trainSupervised(this.#context(place, stage), { stage, title: stage, kind, settings })).seconds;
      await saveWeights(place.storage, `${stage}.safetensors`, this.#model);
    };
    const pretraining = start === 'vm-cpt+cot-sft' ? 'vm-cpt' : start === 'cpt+cot-sft' ? 'cpt' : undefined;
    if (pretraining === undefined) await this.#loadBase();
    else if (!(await loadWeights(place.storage, `${pretraining}.safetensors`, this.#model))) {
      await this.#loadBase();
      await train(pretraining, pretraining);
    }
    await train(start, start === 'direct-sft' ? 'direct-sft' : 'cot-sft');
    return seconds;
  }

  #context({ task, storage, seed, settings }: Place, stage: string): TrainContext {
    return {
      model: this.#model, task, storage, seed, saveSteps: settings.saveSteps, signal: this.#o.signal,
      onBegin: (step) => step > 0 && this.#emit({ type: 'note', text: `${stage} goes on after step ${step}` }),
      onStep: ({ step, steps, value }) => this.#emit({ type: 'step', stage, step, steps, value }),
      onNote: (text) => this.#emit({ type: 'note', text }),
    };
  }

  async #loadBase(): Promise<void> {
    await this.#model.load(await openCheckpoint(this.#o.base));
  }

  async #place(setting: Setting, seed: number, baselines: boolean): Promise<Place> {
    const settings = this.#settingsOf(setting);
    await this.#loadBase();
    this.#emit({ type: 'note', text: `${settingTitle(setting)}, seed ${seed}: drawing the data` });
    const keep = async (found: Omit<Baselines, keyof Setting | 'seed'>) => {
      const all: Baselines = { ...setting, seed, ...found };
      await this.#storage.write(`${folder(setting, seed)}/baselines.json`, JSON.stringify(all));
      this.#baselines.push(all);
    };
    const place = { setting, seed, settings, storage: inFolder(this.#storage, folder(setting, seed)) };
    if (setting.benchmark === 'gta') {
      const data = await makeGtaRunData(this.#model, { ...settings, seed });
      const suite = await makeGtaSuiteData(this.#model, data, settings.suiteSize);
      if (baselines) await keep(await this.#gtaBaselines(data));
      return { ...place, task: this.#writer.gtaTask(data), measure: (context, aware) => measureGtaSuite(context, data, suite, aware) };
    }
    const data = await makeRunData(this.#model, { ...settings, n: setting.n, seed, variant: setting.benchmark === 'clevr-m' ? 'm' : 't' });
    const suite = await makeSuiteData(this.#model, data, settings.suiteSize);
    if (baselines) await keep(await this.#clevrBaselines(data));
    return { ...place, task: this.#writer.task(data), measure: (context, aware) => measureSuite(context, data, suite, aware) };
  }

  async #clevrBaselines({ dataset, train, test }: RunData): Promise<Omit<Baselines, keyof Setting | 'seed'>> {
    const examples = (items: RunData['test']) => items.map((t) => t.example);
    const { chance, objectCount, histogram } = shortcutBaselines(dataset.policies, examples(train), examples(test));
    const [first] = test;
    return {
      chance, majority: majorityAccuracy(examples(train), examples(test)), objectCount, histogram,
      canonical: await measureCanonical(this.#model, this.#tokenizer, dataset, first!.images[0]!, first!.policyImages[0]),
    };
  }

  /** Chance draws a tool's version once the tool and its arguments are known: both stand in the question. */
  async #gtaBaselines({ dataset, train, test }: GtaRunData): Promise<Omit<Baselines, keyof Setting | 'seed'>> {
    const cases = new Map(dataset.policy.tools.map(({ tool, cases: own }) => [tool as string, new Set(own.map((c) => c.leaf.version)).size]));
    const examples = (items: GtaRunData['test']) => items.map((t) => ({ ...t.example, policyId: t.example.tool, answer: t.example.gold.version ?? '' }));
    return {
      chance: test.reduce((sum, t) => sum + 1 / (cases.get(t.example.tool) ?? 1), 0) / test.length,
      majority: majorityAccuracy(examples(train), examples(test)),
      canonical: await measureGtaCanonical(this.#model, this.#tokenizer, test[0]!.images[0]!),
    };
  }

  // ---- files

  #settingsOf(setting: Setting): ReproduceSettings {
    return { ...scaleSettings(this.#o.scale, setting), ...this.#o.settings };
  }

  /** Rows of different settings must not meet in one table. */
  async #checkSettings(): Promise<void> {
    for (const setting of this.#settings) {
      const settings = JSON.stringify(this.#settingsOf(setting));
      const file = `${settingFolder(setting)}/settings.json`;
      const before = await this.#storage.read(file);
      if (before === null) await this.#storage.write(file, settings);
      else if (new TextDecoder().decode(before) !== settings) throw new PipelineError('invalid-option', `${this.#storage.name}/${file}`, 'holds a table with other settings.', 'Give the same scale, or another folder.');
    }
  }

  async #load(setting: Setting, seed: number, row: RowName): Promise<void> {
    const result = await readJson<RowResult>(this.#storage, rowFile(setting, seed, row));
    if (result !== null) this.#results.push(result);
  }

  #find(setting: Setting, seed: number, row: RowName): RowResult | undefined {
    return this.#results.find((r) => settingTitle(settingOf(r)) === settingTitle(setting) && r.seed === seed && r.row === row);
  }

  #missing(): { readonly setting: Setting; readonly seed: number; readonly row: RowName }[] {
    return this.#settings.flatMap((setting) => this.#o.seeds.flatMap((seed) => this.#rows.filter((row) => this.#find(setting, seed, row) === undefined).map((row) => ({ setting, seed, row }))));
  }

  #progress(): { readonly done: number; readonly of: number; readonly secondsLeft: number | null } {
    const of = this.#settings.length * this.#o.seeds.length * this.#rows.length;
    const missing = this.#missing();
    const cost = (rows: readonly RowResult[]) => (rows.length === 0 ? undefined : rows.reduce((s, r) => s + r.trainSeconds + r.evaluationSeconds, 0) / rows.length);
    // Rows with RL and rows without cost differently.
    const [rl, plain] = [cost(this.#results.filter((r) => r.rl !== undefined)), cost(this.#results.filter((r) => r.rl === undefined))];
    const left = missing.map(({ row }) => (rlOf(row) === undefined ? plain : rl));
    return { done: of - missing.length, of, secondsLeft: left.includes(undefined) ? null : left.reduce<number>((s, x) => s + x!, 0) };
  }

  /** The table of what is there; its page only when all that was asked for is done. */
  async #write(last: boolean): Promise<ReproduceResults> {
    const results: ReproduceResults = {
      scale: this.#o.scale,
      adapters: countBy(this.#results.map((r) => r.adapter)),
      baselines: this.#baselines,
      rows: summariseRows(this.#results),
      orderings: testOrderings(this.#results),
      missing: this.#missing().map(({ setting, seed, row }) => `${row} (${settingTitle(setting)}, seed ${seed})`),
      settings: Object.fromEntries(this.#settings.map((setting) => [settingTitle(setting), this.#settingsOf(setting)])),
    };
    await this.#storage.write('results.json', `${JSON.stringify(results, null, 2)}\n`);
    const page = resultsPage(results);
    await this.#storage.write('results.md', tablesMarkdown(page));
    if (last) {
      // Charts are large: they are loaded when they are drawn.
      const { renderTables } = await import('@trimpi/eval/html');
      await this.#storage.write('results.html', renderTables(page));
    }
    return results;
  }
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function folder(setting: Setting, seed: number): string {
  return `${settingFolder(setting)}/seed-${seed}`;
}

function rowFile(setting: Setting, seed: number, row: RowName): string {
  return `${folder(setting, seed)}/${row}.json`;
}

function inFolder(storage: RunStorage, name: string): RunStorage {
  return { name: `${storage.name}/${name}`, read: (file) => storage.read(`${name}/${file}`), write: (file, data) => storage.write(`${name}/${file}`, data) };
}

async function readJson<T>(storage: RunStorage, file: string): Promise<T | null> {
  const bytes = await storage.read(file);
  if (bytes === null) return null;
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as T;
  } catch (cause) {
    throw new PipelineError('invalid-checkpoint', `${storage.name}/${file}`, 'cannot be read.', 'Delete it to make this row again.', { cause });
  }
}
