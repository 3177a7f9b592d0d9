/** @file `trimpi train`: the pipeline with the settings of a file. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { folderFiles } from '@trimpi/model/node';
import { ALGORITHMS, DEMO_CONFIG, PipelineError, resolveConfig, type RunConfig } from '@trimpi/pipeline';
import { tinyBase } from '@trimpi/pipeline/node';
import { UsageError } from '../errors.ts';
import { requireFolder } from '../model/load.ts';
import { examples, integer } from '../options.ts';
import { runPipeline } from '../run-pipeline.ts';
import { type Defaults, defaultsAsYaml, parseSettings } from './settings.ts';

interface TrainOptions {
  readonly out?: string;
  readonly seed?: number;
  readonly resume?: boolean;
  readonly defaults?: boolean;
  readonly json?: boolean;
}

export interface TrainSettings {
  /** Folder of the run. */
  readonly out: string;
  /** `tiny`, or a folder with a base of the same vocabulary. */
  readonly base: string;
  readonly config: RunConfig;
}

const DEFAULTS = { out: 'runs/train', base: 'tiny', ...DEMO_CONFIG };

/** What the settings are, for those who begin with the defaults. */
const ABOUT: Readonly<Record<string, string>> = {
  out: 'folder of the run: checkpoints, adapter, model, report',
  base: 'tiny, or a folder with a base of the same vocabulary (trimpi pretrain makes one)',
  seed: 'scenes, policies, sampling and order are a function of it',
  n: 'depth of the decision trees: 1 to 3',
  policies: 'how many policies go into one model',
  trainPerPolicy: 'training scenes of each policy, and how many of them come with reasoning',
  testSize: 'unseen questions in all',
  vmCpt: 'continued pre-training on policy, image, question and response; all parameters',
  sft: 'response without the policy; a LoRA adapter of rank r, merged afterwards',
  rl: 'reinforcement learning from the weights after SFT',
  'rl.promptsPerStep': 'questions of a step, and completions of each (PolicyRollout samples half of them with the policy)',
  arms: `each from the same weights with as many rollouts: ${ALGORITHMS.join(', ')}`,
  saveSteps: 'steps between two checkpoints',
};

export function trainCommand(program: Command): void {
  program
    .command('train')
    .description('all stages with the settings of a file: VM-CPT, CoT SFT with LoRA, RL with PolicyRollout, an evaluation after each')
    .argument('[config]', 'YAML or JSON; what it leaves out has its default')
    .option('--out <dir>', 'folder of the run (default: out of the file)')
    .option('--seed <n>', 'scenes, policies and sampling are a function of it (default: seed of the file)', integer(0, 2 ** 32 - 1))
    .option('--resume', 'go on with the run in the folder; begin it when there is none')
    .option('--defaults', 'print every setting with its default, and end')
    .option('--json', 'events as lines of JSON, the report last')
    .addHelpText('after', `${examples('trimpi train --defaults > mine.yaml', 'trimpi train mine.yaml', 'trimpi train mine.yaml --out runs/seed-7 --seed 7 --resume --json')}\n\nCtrl-C saves; the same command with --resume goes on.`)
    .action(train);
}

async function train(file: string | undefined, { out, seed, resume = false, defaults = false, json = false }: TrainOptions): Promise<void> {
  if (defaults) {
    process.stdout.write(defaultsAsYaml(DEFAULTS as unknown as Defaults, ABOUT));
    return;
  }
  if (file === undefined) throw new UsageError('train needs a settings file. Begin with one: trimpi train --defaults > mine.yaml');
  const settings = readTrainSettings(file, { out, seed });
  const state = join(settings.out, 'run.json');
  if (!resume && existsSync(state)) throw new UsageError(`${settings.out} holds a run. Add --resume to go on with it, or give another --out.`);
  if (settings.base !== 'tiny') requireFolder('base', settings.base);
  await runPipeline({ title: 'train', config: settings.config, base: settings.base === 'tiny' ? tinyBase() : folderFiles(resolve(settings.base)), out: settings.out, json });
}

/** @throws UsageError with file, line and column. */
export function readTrainSettings(file: string, over: { readonly out?: string | undefined; readonly seed?: number | undefined } = {}): TrainSettings {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new UsageError(`${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}. Give a YAML or JSON file; trimpi train --defaults prints one.`);
  }
  const { values, fail } = parseSettings(text, file, DEFAULTS as unknown as Defaults, { arms: ALGORITHMS });
  const { out, base, ...config } = values as unknown as typeof DEFAULTS;
  try {
    return { out: over.out ?? out, base, config: resolveConfig({ ...config, ...(over.seed === undefined ? {} : { seed: over.seed }) }) };
  } catch (error) {
    if (error instanceof PipelineError && error.code === 'invalid-option') fail(error.argument, error.message);
    throw error;
  }
}
