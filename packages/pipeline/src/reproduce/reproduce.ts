/**
 * @file The paper's table: every row of every seed is a file of its own, so that the whole can be made in pieces. What
 * rows share (VM-CPT, SFT) is trained once for each seed; every RL row samples the same number of rollouts.
 * The results name the seeds that a folder has rows of: a storage need not list its files.
 */
import { canonicalJson } from '@trimpi/datasets';
import { type RlReport, tablesMarkdown } from '@trimpi/eval';
import type { DeviceLimits, ModelFiles } from '@trimpi/model';
import type { Engine } from '@trimpi/runtime';
import { PipelineError } from '../errors.ts';
import { checkedStorage, type RunStorage } from '../storage.ts';
import { interrupt, type TrainContext } from '../train/context.ts';
import { rlReport, trainRl } from '../train/reinforce.ts';
import { type SupervisedKind, trainSupervised } from '../train/supervised.ts';
import { loadWeights, saveWeights } from '../weights.ts';
import { CompactWriting } from './compact.ts';
import { baseFingerprint } from '../fingerprint.ts';
import { resultsPage } from './page.ts';
import type { Place, Writing } from './place.ts';
import { ProseWriting } from './prose.ts';
import { type Baselines, type ReproduceResults, type RowResult, settingOf, summariseRows, testOrderings } from './results.ts';
import { type Benchmark, BENCHMARKS, DEPTHS, rlOf, ROWS, type RowName, rowTitle, type Setting, settingFolder, SETTINGS, settingTitle, type SupervisedRowName } from './rows.ts';
import { type CheckpointSettings, type ReproduceOverrides, type ReproduceSettings, reproduceSettings, type Scale } from './settings.ts';
import { secondsLeft } from './time-left.ts';

export type ReproduceEvent =
  | { readonly type: 'note'; readonly text: string }
  /** Of the pictures of a setting and seed. */
  | { readonly type: 'progress'; readonly done: number; readonly of: number }
  /** A row begins; `secondsLeft` is a guess from the rows that were done on this adapter. */
  | { readonly type: 'row'; readonly setting: string; readonly n: number; readonly seed: number; readonly row: RowName; readonly title: string; readonly done: number; readonly of: number; readonly secondsLeft: number | null }
  | { readonly type: 'step'; readonly stage: string; readonly step: number; /** Steps there will be, going by those so far. */ readonly of: number; readonly value: string }
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
  /** With the words of the settings; for scale `full` a checkpoint with a chat template. */
  readonly base: ModelFiles;
  /** Scale `full`: over its settings of the checkpoint. */
  readonly checkpoint?: Partial<CheckpointSettings>;
  /** Scale `full`: of the device; what does not fit is refused before anything is loaded. */
  readonly limits?: DeviceLimits;
  readonly storage: RunStorage;
  /** Over the settings of the scale. */
  readonly settings?: ReproduceOverrides;
  readonly onEvent?: (event: ReproduceEvent) => void;
  /** Stops after the current step, with everything saved; the promise rejects with `interrupted`. */
  readonly signal?: AbortSignal;
}

/**
 * Makes the rows that are asked for and missing, and the table of all that the storage holds (`results.json`, `results.md`,
 * `results.html`), those of other seeds and settings included.
 * @throws PipelineError `invalid-option` for rows or settings that are none, where the storage holds a table with other settings, and
 * where rows are missing and those that are there were made from another base.
 */
export async function reproduceRows(options: ReproduceOptions): Promise<ReproduceResults> {
  return new Reproduction(options).execute();
}

/** A place, and where its results go. */
interface OpenPlace extends Place {
  readonly setting: Setting;
  readonly seed: number;
  readonly settings: ReproduceSettings;
  readonly storage: RunStorage;
}

class Reproduction {
  readonly #o: ReproduceOptions;
  readonly #storage: RunStorage;
  readonly #emit: (event: ReproduceEvent) => void;
  readonly #rows: readonly RowName[];
  /** What is asked for. */
  readonly #settings: readonly Setting[];
  /** With what the storage holds besides. */
  #tableSettings: readonly Setting[] = [];
  #base = '';
  readonly #results: RowResult[] = [];
  readonly #baselines: Baselines[] = [];

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
    check('n', depths, DEPTHS[0], DEPTHS.at(-1)!);
    check('seeds', options.seeds, 0, 2 ** 32 - 1);
  }

  async execute(): Promise<ReproduceResults> {
    const { scale, base, engine, limits, seeds } = this.#o;
    await this.#load();
    if (this.#missing().length === 0) return this.#write(true);
    this.#base = await baseFingerprint(base);
    const other = this.#results.find((r) => r.base !== undefined && r.base !== this.#base);
    if (other !== undefined) throw new PipelineError('invalid-option', 'base', `has weights of SHA-256 ${this.#base}..., and ${this.#storage.name} holds rows from a base of ${other.base}...`, 'Give that base, or another folder.');
    const places = this.#settings.flatMap((setting) => seeds.map((seed) => ({ setting, seed })));
    const writing = scale === 'full' ? await ProseWriting.create(engine, base, limits) : await CompactWriting.create(engine, base, this.#settings);
    try {
      for (const { setting, seed } of places) {
        const missing = this.#rows.filter((row) => this.#find(setting, seed, row) === undefined);
        if (missing.length === 0) continue;
        const place = await this.#open(writing, setting, seed);
        try {
          if (!this.#baselines.some((b) => isOf(b, setting, seed))) await this.#measureBaselines(place);
          // The seed is named before it has a row.
          await this.#write(false);
          for (const row of missing) {
            await this.#row(place, row);
            await this.#write(false);
          }
        } finally {
          place.dispose();
        }
      }
      return await this.#write(true);
    } finally {
      writing.dispose();
    }
  }

  // ---- rows

  async #row(place: OpenPlace, row: RowName): Promise<void> {
    const { setting, seed, settings, storage, model, adapter } = place;
    const head = { setting: settingTitle(setting), n: setting.n, seed, row };
    this.#emit({ type: 'row', ...head, title: rowTitle(row), ...this.#progress() });
    const begin = performance.now();
    let rl: RlReport | undefined;
    let trainSeconds = 0;
    const arm = rlOf(row);
    if (row === 'in-context') await place.reset();
    else if (arm === undefined) trainSeconds = await this.#start(place, row as SupervisedRowName);
    else {
      await this.#start(place, arm.start);
      await loadWeights(storage, `${arm.start}.safetensors`, model, adapter);
      const trained = await trainRl(this.#context(place, row), { stage: row, title: rowTitle(row), algorithm: arm.algorithm, settings: settings.rl });
      rl = rlReport(trained.metrics);
      trainSeconds = trained.seconds;
    }
    const trainedAt = performance.now();
    const suite = await place.measure({
      maxNewTokens: settings.rl.maxNewTokens,
      check: async () => {
        if (this.#o.signal?.aborted === true) interrupt(`evaluation of ${rowTitle(row)}`, this.#storage);
      },
    }, row === 'in-context');
    const result: RowResult = { row, ...setting, seed, adapter: this.#o.adapterName, base: this.#base, suite, ...(rl === undefined ? {} : { rl }), trainSeconds: Math.max(trainSeconds, (trainedAt - begin) / 1000), evaluationSeconds: (performance.now() - trainedAt) / 1000 };
    await this.#storage.write(rowFile(setting, seed, row), JSON.stringify(result));
    this.#results.push(result);
    this.#emit({ type: 'result', ...head, accuracy: (row === 'in-context' ? suite.policyInContext : suite.accuracy).accuracy });
  }

  /** The weights that RL starts from, trained unless they are there; the model holds them then. Returns the seconds it took. */
  async #start(place: OpenPlace, start: SupervisedRowName): Promise<number> {
    const { storage, model, adapter } = place;
    if (await loadWeights(storage, `${start}.safetensors`, model, adapter)) return 0;
    let seconds = 0;
    const train = async (stage: string, kind: SupervisedKind) => {
      const settings = { 'vm-cpt': place.settings.vmCpt, cpt: place.settings.vmCpt, 'cot-sft': place.settings.sft, 'direct-sft': place.settings.directSft }[kind];
      seconds += (await trainSupervised(this.#context(place, stage), { stage, title: stage, kind, settings })).seconds;
      await saveWeights(storage, `${stage}.safetensors`, model, adapter);
    };
    const pretraining = start === 'vm-cpt+cot-sft' ? 'vm-cpt' : start === 'cpt+cot-sft' ? 'cpt' : undefined;
    if (pretraining === undefined) await place.reset();
    else if (!(await loadWeights(storage, `${pretraining}.safetensors`, model, adapter))) {
      await place.reset();
      await train(pretraining, pretraining);
    }
    await train(start, start === 'direct-sft' ? 'direct-sft' : 'cot-sft');
    return seconds;
  }

  #context({ model, adapter, maxTokens, maxRollouts, task, storage, seed, settings }: OpenPlace, stage: string): TrainContext {
    return {
      model, adapter, maxTokens, maxRollouts, task, storage, seed, saveSteps: settings.saveSteps, signal: this.#o.signal,
      onBegin: (step) => step > 0 && this.#emit({ type: 'note', text: `${stage} goes on after step ${step}` }),
      onStep: ({ step, of, value }) => this.#emit({ type: 'step', stage, step, of, value }),
      onNote: (text) => this.#emit({ type: 'note', text }),
    };
  }

  async #open(writing: Writing, setting: Setting, seed: number): Promise<OpenPlace> {
    const settings = this.#settingsOf(setting);
    this.#emit({ type: 'note', text: `${settingTitle(setting)}, seed ${seed}: drawing the data` });
    const place = await writing.open(setting, seed, settings, {
      check: () => this.#o.signal?.aborted === true && interrupt(`drawing of ${settingTitle(setting)}, seed ${seed}`, this.#storage),
      onProgress: (done, of) => this.#emit({ type: 'progress', done, of }),
    });
    return { ...place, setting, seed, settings, storage: inFolder(this.#storage, folder(setting, seed)) };
  }

  async #measureBaselines({ setting, seed, baselines }: OpenPlace): Promise<void> {
    const all: Baselines = { ...setting, seed, ...(await baselines()) };
    await this.#storage.write(`${folder(setting, seed)}/baselines.json`, JSON.stringify(all));
    this.#baselines.push(all);
  }

  // ---- files

  #settingsOf(setting: Setting): ReproduceSettings {
    const algorithms = this.#rows.flatMap((row) => rlOf(row)?.algorithm ?? []);
    return reproduceSettings(this.#o.scale, setting, { checkpoint: this.#o.checkpoint, overrides: this.#o.settings, algorithms });
  }

  /** Everything that the storage holds: rows of different settings must not meet in one table. */
  async #load(): Promise<void> {
    const asked = new Set(this.#settings.map(settingTitle));
    const found: Setting[] = [];
    const fresh: [file: string, settings: string][] = [];
    for (const setting of SETTINGS) {
      const file = `${settingFolder(setting)}/settings.json`;
      const before = await readJson<ReproduceSettings>(this.#storage, file, 'Give another folder.');
      if (before === null && !asked.has(settingTitle(setting))) continue;
      const settings = this.#settingsOf(setting);
      if (before === null) fresh.push([file, JSON.stringify(settings)]);
      else if (canonicalJson(before) !== canonicalJson(settings)) throw new PipelineError('invalid-option', `${this.#storage.name}/${file}`, 'holds a table with other settings.', 'Give the same scale and settings, or another folder.');
      found.push(setting);
    }
    for (const [file, settings] of fresh) await this.#storage.write(file, settings);
    this.#tableSettings = found;
    const seeds = [...new Set([...(await this.#namedSeeds()), ...this.#o.seeds])].toSorted((a, b) => a - b);
    for (const setting of found) {
      for (const seed of seeds) {
        const baselines = await readJson<Baselines>(this.#storage, `${folder(setting, seed)}/baselines.json`, 'Delete it to measure them again.');
        if (baselines !== null) this.#baselines.push(baselines);
        for (const row of ROWS) {
          const result = await readJson<RowResult>(this.#storage, rowFile(setting, seed, row), 'Delete it to make this row again.');
          if (result !== null) this.#results.push(result);
        }
      }
    }
  }

  /** Seeds that earlier results name, of whatever setting. */
  async #namedSeeds(): Promise<number[]> {
    const before = await readJson<Partial<Pick<ReproduceResults, 'rows' | 'baselines'>>>(this.#storage, 'results.json', 'Delete it, and ask for all the seeds that the folder holds.');
    return [...(before?.rows ?? []).flatMap((row) => row.seeds), ...(before?.baselines ?? []).map((b) => b.seed)];
  }

  #find(setting: Setting, seed: number, row: RowName): RowResult | undefined {
    return this.#results.find((r) => r.row === row && isOf(r, setting, seed));
  }

  #missing(): { readonly setting: Setting; readonly seed: number; readonly row: RowName }[] {
    return this.#settings.flatMap((setting) => this.#o.seeds.flatMap((seed) => this.#rows.filter((row) => this.#find(setting, seed, row) === undefined).map((row) => ({ setting, seed, row }))));
  }

  #progress(): { readonly done: number; readonly of: number; readonly secondsLeft: number | null } {
    const of = this.#settings.length * this.#o.seeds.length * this.#rows.length;
    const missing = this.#missing();
    return { done: of - missing.length, of, secondsLeft: secondsLeft(missing, this.#results.filter((r) => r.adapter === this.#o.adapterName)) };
  }

  /** The table of what is there; its page only when all that was asked for is done. */
  async #write(last: boolean): Promise<ReproduceResults> {
    const results: ReproduceResults = {
      scale: this.#o.scale,
      adapters: countBy(this.#results.map((r) => r.adapter)),
      bases: countBy(this.#results.map((r) => r.base ?? 'unknown')),
      baselines: this.#baselines,
      rows: summariseRows(this.#results),
      orderings: testOrderings(this.#results),
      missing: this.#missing().map(({ setting, seed, row }) => `${row} (${settingTitle(setting)}, seed ${seed})`),
      settings: Object.fromEntries(this.#tableSettings.map((setting) => [settingTitle(setting), this.#settingsOf(setting)])),
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

function isOf(result: Pick<RowResult, 'benchmark' | 'n' | 'seed'>, setting: Setting, seed: number): boolean {
  return result.seed === seed && settingTitle(settingOf(result)) === settingTitle(setting);
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

async function readJson<T>(storage: RunStorage, file: string, remedy: string): Promise<T | null> {
  const bytes = await storage.read(file);
  if (bytes === null) return null;
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as T;
  } catch (cause) {
    throw new PipelineError('invalid-checkpoint', `${storage.name}/${file}`, 'cannot be read.', remedy, { cause });
  }
}
