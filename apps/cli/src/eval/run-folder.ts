/** @file A folder that `trimpi demo` or `trimpi train` wrote: its model, and the questions of its settings. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { majorityAccuracy } from '@trimpi/eval';
import { openCheckpoint, parseConfig, requireText, Tokenizer, VisionLanguageModel } from '@trimpi/model';
import { folderFiles } from '@trimpi/model/node';
import { encodeExample, PromptWriter, resolveConfig, type RunConfig, runDataset, scoreItem, WordCodec } from '@trimpi/pipeline';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { UsageError } from '../errors.ts';
import type { QuestionSet } from './questions.ts';

export const isRunFolder = (dir: string): boolean => existsSync(join(dir, 'run.json'));

export interface OpenedRun extends QuestionSet {
  readonly model: VisionLanguageModel;
  readonly stopIds: readonly number[];
  readonly maxNewTokens: number;
  decode(tokens: ArrayLike<number>): string;
  dispose(): void;
}

/** @throws UsageError for a run that has not come to its model. */
export async function openRun(dir: string, withPolicy: boolean): Promise<OpenedRun> {
  const config = settingsOf(dir);
  if (!existsSync(join(dir, 'model', 'model.safetensors'))) throw new UsageError(`${dir} has no model yet: its run was stopped. Go on with it (trimpi train --resume, or trimpi demo), then evaluate.`);
  const files = folderFiles(join(dir, 'model'));
  const tokenizer = await Tokenizer.load(files);
  const engine = new WebGpuEngine(await openDevice());
  try {
    const model = new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(files, 'config.json'))));
    await model.load(await openCheckpoint(files));
    const writer = new PromptWriter(model, new WordCodec(tokenizer));
    const dataset = runDataset(config);
    const of = (split: 'train' | 'test') => Array.from({ length: dataset.size(split) }, (_, i) => dataset.example(split, i));
    const test = of('test');
    return {
      model, stopIds: [model.config.eosTokenId!], maxNewTokens: config.rl.maxNewTokens,
      decode: (tokens) => writer.text(tokens),
      chance: 1 / dataset.policies[0]!.tree.leaves.length,
      majority: majorityAccuracy(of('train'), test),
      questions: test.map((example) => ({
        id: example.id, policyId: example.policyId, answer: example.answer,
        prompt: async () => writer.prompt(await encodeExample(model, example), withPolicy),
        score: (completion) => {
          const { accuracy, format } = scoreItem({ example }, completion);
          return { correct: accuracy === 1, accuracy, format: format === 1 ? 1 : 0 };
        },
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

function settingsOf(dir: string): RunConfig {
  const file = join(dir, 'run.json');
  try {
    const { config } = JSON.parse(readFileSync(file, 'utf8')) as { config: Partial<RunConfig> };
    if ('lora' in config) throw new UsageError(`${dir} is a run on data of its own. Evaluate the checkpoint that it began with: trimpi eval MODEL --adapter ${dir}/adapter --data FOLDER.`);
    return resolveConfig(config);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`${file} holds no settings of a run: ${cause instanceof Error ? cause.message : String(cause)} Give a folder that trimpi train or trimpi demo wrote.`);
  }
}
