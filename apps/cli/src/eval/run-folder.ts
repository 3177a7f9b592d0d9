/** @file A folder that `trimpi demo` or `trimpi train` wrote: its model, and the questions of its settings. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Example } from '@trimpi/datasets';
import { openCheckpoint, parseConfig, requireText, Tokenizer, VisionLanguageModel } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import { clevrShortcuts, encodeExample, gtaDataset, gtaShortcuts, PromptWriter, resolveConfig, type RunConfig, runDataset, scoreGtaItem, scoreItem, WordCodec } from '@trimpi/pipeline';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import type { StoredScore } from '../data/stored.ts';
import { UsageError } from '../errors.ts';
import type { QuestionSet, Shortcuts } from './questions.ts';

export const isRunFolder = (dir: string): boolean => existsSync(join(dir, 'run.json'));

export interface OpenedRun extends QuestionSet {
  readonly model: VisionLanguageModel;
  readonly stopIds: readonly number[];
  readonly maxNewTokens: number;
  decode(tokens: ArrayLike<number>): string;
  dispose(): void;
}

/**
 * All questions of the run, or its first `limit`.
 * @throws UsageError for a run that has not come to its model.
 */
export async function openRun(dir: string, { withPolicy, limit }: { readonly withPolicy: boolean; readonly limit: number | undefined }): Promise<OpenedRun> {
  const config = settingsOf(dir);
  if (!existsSync(join(dir, 'model', 'model.safetensors'))) throw new UsageError(`${dir} has no model yet: its run was stopped. Go on with it (trimpi train --resume, or trimpi demo), then evaluate.`);
  const files = folderFiles(join(dir, 'model'));
  const tokenizer = await Tokenizer.load(files);
  const engine = new WebGpuEngine(await openDevice());
  try {
    const model = new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(files, 'config.json'))));
    await model.load(await openCheckpoint(files));
    const writer = new PromptWriter(model, new WordCodec(tokenizer));
    const { questions, chance, majority, shortcuts } = config.benchmark === 'gta' ? gtaQuestions(config, limit) : clevrQuestions(config, limit);
    return {
      model, stopIds: [model.config.eosTokenId!], maxNewTokens: config.rl.maxNewTokens, chance, majority, shortcuts,
      decode: (tokens) => writer.text(tokens),
      questions: questions.map(({ example, score }) => ({
        id: example.id, policyId: example.policyId, query: example.query, answer: example.answer, score,
        prompt: async () => writer.prompt(await encodeExample(model, example), withPolicy),
      })),
      dispose: () => {
        model.dispose();
        engine.dispose();
      },
    };
  } catch (error) {
    engine.dispose();
    throw error;
  }
}

interface RunQuestions {
  readonly questions: readonly { readonly example: Example; score(completion: string): StoredScore }[];
  readonly chance: number;
  readonly majority: number;
  readonly shortcuts: Shortcuts | null;
}

export function clevrQuestions(config: RunConfig, limit?: number): RunQuestions {
  const dataset = runDataset(config);
  const [train, test] = splitsOf(dataset, limit);
  return {
    ...clevrShortcuts(dataset, train, test),
    questions: test.map((example) => ({
      example,
      score: (completion) => {
        const { accuracy, format } = scoreItem({ example }, completion);
        return { correct: accuracy === 1, accuracy, format: format === 1 ? 1 : 0 };
      },
    })),
  };
}

export function gtaQuestions(config: RunConfig, limit?: number): RunQuestions {
  const dataset = gtaDataset(config);
  const [train, test] = splitsOf(dataset, limit);
  return {
    ...gtaShortcuts(dataset, train, test),
    shortcuts: null,
    questions: test.map((example) => ({
      example,
      score: (completion) => {
        const { accuracy, format, tool, arguments: share } = scoreGtaItem({ example }, completion);
        return { correct: accuracy === 1, accuracy, format, tool, arguments: share };
      },
    })),
  };
}

function splitsOf<E>({ size, example }: { size(split: 'train' | 'test'): number; example(split: 'train' | 'test', index: number): E }, limit = Infinity): readonly [train: E[], test: E[]] {
  const of = (split: 'train' | 'test', most = Infinity) => Array.from({ length: Math.min(most, size(split)) }, (_, i) => example(split, i));
  return [of('train'), of('test', limit)];
}

function settingsOf(dir: string): RunConfig {
  const file = join(dir, 'run.json');
  try {
    const { config } = JSON.parse(readFileSync(file, 'utf8')) as { config: Partial<RunConfig> & { readonly tune?: string } };
    if ('lora' in config) throw new UsageError(`${dir} is a run on data of its own. Evaluate ${config.tune === 'full' ? `what it left: trimpi eval ${dir}/model` : `the checkpoint that it began with: trimpi eval MODEL --adapter ${dir}/adapter`} --data FOLDER.`);
    return resolveConfig(config);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`${file} holds no settings of a run: ${cause instanceof Error ? cause.message : String(cause)} Give a folder that trimpi train or trimpi demo wrote.`);
  }
}
