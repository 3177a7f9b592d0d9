/** @file `trimpi train`: all stages with the settings of a file: ClevrPolicy or GTAPolicy and a base that is shipped, or examples and a checkpoint of one's own. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { folderFiles } from '@trimpi/model/node';
import type { ModelFiles } from '@trimpi/model';
import { ALGORITHMS, DEMO_CONFIG, GTA_CONFIG, INTERNALISE_CONFIG, internalise, type InternaliseConfig, resolveConfig, resolveInternaliseConfig, run, type RunConfig } from '@trimpi/pipeline';
import { smallBase, tinyBase } from '@trimpi/pipeline/node';
import { openStored } from '../data/stored.ts';
import { UsageError } from '../errors.ts';
import { requireFolder } from '../model/load.ts';
import { examples, integer, oneOf } from '../options.ts';
import { runPipeline } from '../run-pipeline.ts';
import { MATMUL, type Matmul } from '../training-engine.ts';
import { OPTIONAL } from './optional.ts';
import { checked, type Defaults, defaultsAsYaml, hasSetting, parseSettings, readText, settingOf } from './settings.ts';

interface TrainOptions {
  readonly out?: string;
  readonly seed?: number;
  readonly resume?: boolean;
  readonly defaults?: true | 'clevr' | 'gta' | 'own';
  readonly matmul: Matmul;
  readonly json?: boolean;
}

export interface TrainSettings {
  /** Folder of the run. */
  readonly out: string;
  /** `tiny`, `small`, or a folder with a base. */
  readonly base: string;
  readonly config: RunConfig;
}

export interface OwnTrainSettings {
  /** Folder of the run. */
  readonly out: string;
  /** A policy folder of one's own, or a dataset that `trimpi data` wrote. */
  readonly data: string;
  /** A checkpoint folder, `tiny` or `small`. */
  readonly model: string;
  readonly config: InternaliseConfig;
}

const OWN_DEFAULTS = { out: 'runs/policy', data: '', model: '', ...INTERNALISE_CONFIG };

const ABOUT_OWN: Readonly<Record<string, string>> = {
  out: 'folder of the run: checkpoints, adapter, report',
  data: 'your policy folder (policy.md, examples.jsonl, scorer.json), or a dataset of trimpi data',
  model: 'checkpoint folder (Qwen2.5-VL, Qwen2-VL, Qwen3-VL), tiny or small',
  seed: 'adapter, sampling and order are a function of it',
  tune: 'lora: one adapter through all stages; full: all parameters of the language model in vmCpt and rl, an adapter in sft that is merged after',
  lora: "PEFT's terms; targetModules is a pattern, all-linear, or empty for the text projections",
  bits: 'of the frozen weights on the device (lora only): 32, 16, 8 or 4',
  system: 'system message of every prompt; empty for none. Give trimpi eval the same one',
  vmCpt: 'continued pre-training on policy, pictures, question and response',
  sft: 'response without the policy in the prompt',
  rl: 'reinforcement learning from the weights after sft',
  'rl.promptsPerStep': 'questions of a step, and completions of each (PolicyRollout samples half of them with the policy)',
  arms: `each from the same weights with as many rollouts: ${ALGORITHMS.join(', ')}`,
  testSize: 'test questions asked after each stage; 0: all',
  maxTokens: 'most tokens in memory at once when training; lower it when memory runs out, the result is the same',
  maxRollouts: 'most completions sampled at once; lower it when memory runs out',
  saveSteps: 'steps between two checkpoints',
};

const DEFAULTS = { out: 'runs/train', base: 'tiny', benchmark: 'clevr', ...DEMO_CONFIG };
const GTA_DEFAULTS = { out: 'runs/train', base: 'small', ...GTA_CONFIG };
/** What GTAPolicy has not: `--defaults gta` leaves them out. */
const CLEVR_ONLY = ['n', 'variant', 'policies'] as const;

/** What the settings are, for those who begin with the defaults. */
const ABOUT: Readonly<Record<string, string>> = {
  out: 'folder of the run: checkpoints, adapter, model, report',
  base: 'tiny, small (a GPU: for n above 3 and for pictures), or a folder with a base (trimpi pretrain makes one)',
  benchmark: 'clevr: ClevrPolicy; gta: GTAPolicy, rules of tools (base: small)',
  seed: 'scenes, policies, sampling and order are a function of it',
  n: 'depth of the decision trees: 1 to 6',
  variant: 't: policies in words; m: some values shown by pictures',
  policies: 'how many policies go into one model',
  trainPerPolicy: 'training scenes of each policy, and how many of them come with reasoning',
  testSize: 'unseen questions in all',
  vmCpt: 'continued pre-training on policy, image, question and response; all parameters of the language model',
  sft: 'response without the policy; a LoRA adapter of rank r, merged afterwards',
  rl: 'reinforcement learning from the weights after SFT',
  'rl.promptsPerStep': 'questions of a step, and completions of each (PolicyRollout samples half of them with the policy)',
  arms: `each from the same weights with as many rollouts: ${ALGORITHMS.join(', ')}`,
  saveSteps: 'steps between two checkpoints',
};

const ABOUT_GTA: Readonly<Record<string, string>> = {
  ...ABOUT,
  base: 'small, or a folder with a base that knows the words of GTAPolicy (trimpi pretrain --recipe small makes one)',
  benchmark: 'gta: GTAPolicy, rules of tools; clevr: ClevrPolicy (trimpi train --defaults)',
  trainPerPolicy: 'training questions, and how many of them come with reasoning (there are 32 cases)',
};

export function trainCommand(program: Command): void {
  program
    .command('train')
    .description('all stages with the settings of a file: VM-CPT, CoT SFT with LoRA, RL with PolicyRollout, an evaluation after each; on ClevrPolicy or GTAPolicy with a base that is shipped, or with data and model of your own')
    .argument('[config]', 'YAML or JSON; what it leaves out has its default')
    .option('--out <dir>', 'folder of the run (default: out of the file)')
    .option('--seed <n>', 'scenes, policies and sampling are a function of it (default: seed of the file)', integer(0, 2 ** 32 - 1))
    .option('--resume', 'go on with the run in the folder; begin it when there is none')
    .option('--defaults [kind]', 'print every setting with its default, and end: clevr (default), gta, or own for your own policy and checkpoint', oneOf('clevr', 'gta', 'own'))
    .option(...MATMUL)
    .option('--json', 'events as lines of JSON, the report last')
    .addHelpText('after', `${examples('trimpi train --defaults > mine.yaml', 'trimpi train mine.yaml', 'trimpi train mine.yaml --out runs/seed-7 --seed 7 --resume --json', 'trimpi train --defaults gta > tools.yaml', 'trimpi train --defaults own > policy.yaml')}\n\nCtrl-C saves; the same command with --resume goes on.`)
    .action(train);
}

function defaultsFile(kind: NonNullable<TrainOptions['defaults']>): string {
  switch (kind) {
    case 'own':
      return defaultsAsYaml(OWN_DEFAULTS as unknown as Defaults, ABOUT_OWN, OPTIONAL);
    case 'gta':
      return defaultsAsYaml(Object.fromEntries(Object.entries(GTA_DEFAULTS as unknown as Defaults).filter(([name]) => !CLEVR_ONLY.includes(name as 'n'))), ABOUT_GTA, OPTIONAL);
    default:
      return defaultsAsYaml(DEFAULTS as unknown as Defaults, ABOUT, OPTIONAL);
  }
}

async function train(file: string | undefined, { out, seed, resume = false, defaults, matmul, json = false }: TrainOptions): Promise<void> {
  if (defaults !== undefined) {
    process.stdout.write(defaultsFile(defaults));
    return;
  }
  if (file === undefined) throw new UsageError('train needs a settings file. Begin with one: trimpi train --defaults > mine.yaml, or trimpi train --defaults own > policy.yaml for your own policy.');
  const text = readText(file, 'trimpi train --defaults prints one.');
  const over = { out, seed };
  const checkOut = (folder: string) => {
    if (!resume && existsSync(join(folder, 'run.json'))) throw new UsageError(`${folder} holds a run. Add --resume to go on with it, or give another --out.`);
  };
  if (hasSetting(text, 'data') || hasSetting(text, 'model')) {
    const { config, data, model, ...settings } = readOwnTrainSettings(text, file, over);
    checkOut(settings.out);
    const base = baseFiles('model', model);
    const { examples: items } = await openStored(data);
    const chats = items.map((example) => ({ example, score: (completion: string) => example.score(completion) }));
    const title = [...new Set(items.map((e) => e.policyName))].slice(0, 3).join(', ');
    await runPipeline({
      title: `train ${title}`, seed: config.seed, out: settings.out, json, matmul, leaves: config.tune === 'lora' ? `adapter: ${resolve(settings.out, 'adapter')}` : `model: ${resolve(settings.out, 'model')}`,
      start: (place) => internalise({ ...place, config, title, examples: chats, base }),
    });
    return;
  }
  const { config, base: name, ...settings } = readTrainSettings(text, file, over);
  checkOut(settings.out);
  const base = baseFiles('base', name);
  await runPipeline({ title: 'train', seed: config.seed, out: settings.out, json, matmul, leaves: `model: ${resolve(settings.out, 'model')}`, start: (place) => run({ ...place, config, base }) });
}

function baseFiles(setting: string, folder: string): ModelFiles {
  if (folder === 'tiny') return tinyBase();
  if (folder === 'small') return smallBase();
  requireFolder(setting, folder);
  return folderFiles(resolve(folder));
}

interface Over {
  readonly out?: string | undefined;
  readonly seed?: number | undefined;
}

/** @param file what errors call it. @throws UsageError with file, line and column. */
export function readTrainSettings(text: string, file: string, { out, seed }: Over = {}): TrainSettings {
  const gta = settingOf(text, 'benchmark') === 'gta';
  const { values, fail } = parseSettings(text, file, (gta ? GTA_DEFAULTS : DEFAULTS) as unknown as Defaults, { arms: ALGORITHMS }, OPTIONAL);
  const { out: written, base, ...given } = values as unknown as typeof GTA_DEFAULTS;
  const stray = gta ? CLEVR_ONLY.find((name) => hasSetting(text, name)) : undefined;
  if (stray !== undefined) fail(stray, `${stray} belongs to ClevrPolicy, and benchmark is gta. Leave it out.`);
  const config = checked(fail, () => resolveConfig({ ...given, ...(seed === undefined ? {} : { seed }) }));
  if (base === 'tiny' && gta) fail('base', "base is tiny, which does not know GTAPolicy's words. Set base: small.");
  if (base === 'tiny' && config.n > 3) fail('n', `n is ${config.n}, and the tiny base follows policies up to three deep. Set base: small (for a GPU), or n to 3.`);
  if (base === 'tiny' && config.variant === 'm') fail('variant', 'variant is m, and the tiny base knows no pictures in policies. Set base: small (for a GPU), or variant: t.');
  return { out: out ?? written, base, config };
}

/** As `readTrainSettings`, for data and a checkpoint of one's own. */
export function readOwnTrainSettings(text: string, file: string, { out, seed }: Over = {}): OwnTrainSettings {
  const { values, fail } = parseSettings(text, file, OWN_DEFAULTS as unknown as Defaults, { arms: ALGORITHMS }, OPTIONAL);
  const { out: written, data, model, ...config } = values as unknown as typeof OWN_DEFAULTS;
  if (data === '') fail('data', 'data is missing: name your policy folder, or a dataset that trimpi data wrote.');
  if (model === '') fail('model', 'model is missing: name a checkpoint folder, or tiny.');
  return { out: out ?? written, data, model, config: checked(fail, () => resolveInternaliseConfig({ ...config, ...(seed === undefined ? {} : { seed }) })) };
}
