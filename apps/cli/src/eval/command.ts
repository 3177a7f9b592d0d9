/** @file `trimpi eval`: accuracy of a run or of a checkpoint, with intervals and baselines. */
import { closeSync, existsSync, openSync, rmSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { proportion, type Proportion } from '@trimpi/eval';
import { generate, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import { writeFileAtomic } from '@trimpi/model/node';
import { FORMAT_INSTRUCTION } from '@trimpi/pipeline';
import { openStored, type StoredScore } from '../data/stored.ts';
import { UsageError } from '../errors.ts';
import { interruptible } from '../interrupt.ts';
import { bitsOption } from '../model/command.ts';
import { type Bits, loadModel, requireFolder } from '../model/load.ts';
import { examples, integer, oneOf } from '../options.ts';
import { Progress } from '../progress.ts';
import { chatQuestions, type QuestionSet, type Shortcuts } from './questions.ts';
import { isRunFolder, openRun } from './run-folder.ts';
import { questionSizes } from './sizes.ts';

interface EvalOptions {
  readonly adapter?: string;
  readonly data?: string;
  readonly split: 'train' | 'test';
  readonly withPolicy?: boolean;
  readonly system: string;
  readonly limit?: number;
  readonly batch: number;
  readonly bits?: Bits;
  readonly maxNewTokens?: number;
  readonly completions?: string;
  readonly json?: boolean;
}

export function evalCommand(program: Command): void {
  program
    .command('eval')
    .description('accuracy on unseen questions, greedy, with 95 % intervals beside chance, the majority answer, and (ClevrPolicy) shortcuts')
    .argument('<model>', 'a folder of trimpi train or trimpi demo, or a checkpoint folder (with --data)')
    .option('--adapter <dir>', 'LoRA adapter folder (PEFT), for a checkpoint')
    .option('--data <dir>', 'a folder that trimpi data wrote, or your own policy folder, for a checkpoint')
    .option('--split <split>', 'train or test', oneOf('train', 'test'), 'test')
    .option('--with-policy', 'put the policy into every prompt: the in-context baseline')
    .option('--system <text>', 'system message for a checkpoint; empty for none', FORMAT_INSTRUCTION)
    .option('--limit <n>', 'only the first so many questions, for the baselines too', integer(1))
    .option('--batch <n>', 'questions at once', integer(1, 1024), 16)
    .option('--bits <n>', 'keep the weights of a checkpoint in 4, 8 or 16 bits on the device (default: full precision)', bitsOption)
    .option('--max-new-tokens <n>', "length at which an answer ends (default: the run's, or 512)", integer(1, 32_768))
    .option('--completions <file>', 'write every answer and its score, as JSONL')
    .option('--json', 'one JSON object')
    .addHelpText('after', examples('trimpi eval runs/demo', 'trimpi eval models/qwen --adapter runs/mine/adapter --data data/clevr', 'trimpi eval models/qwen --data data/gta --with-policy --limit 100 --completions answers.jsonl --json'))
    .action(evaluateModel);
}

interface Asked extends QuestionSet {
  readonly kind: string;
  readonly model: VisionLanguageModel;
  readonly adapter: string | undefined;
  readonly stopIds: readonly number[];
  readonly maxNewTokens: number;
  decode(tokens: Int32Array): string;
  dispose(): void;
}

export interface Evaluation extends Proportion {
  readonly model: string;
  readonly kind: string;
  readonly policyInPrompt: boolean;
  readonly chance: number | null;
  readonly majority: number | null;
  readonly shortcuts: Shortcuts | null;
  readonly format: Proportion;
  /** The accuracy reward where it is more than right or wrong: mean with a 95 % interval by the normal approximation. */
  readonly reward: { readonly mean: number; readonly low: number; readonly high: number };
  /** GTAPolicy in a run: tool and version right. */
  readonly tool?: number;
  /** GTAPolicy: mean share of right arguments. */
  readonly arguments?: number;
  readonly promptTokens: number;
  readonly seconds: number;
}

async function evaluateModel(dir: string, options: EvalOptions): Promise<void> {
  const { json = false, withPolicy = false, batch, completions: file } = options;
  requireFolder('<model>', dir);
  if (file !== undefined) requireWritable(file);
  const asked = await open(dir, options);
  const progress = json ? undefined : new Progress();
  try {
    const { questions } = asked;
    if (questions.length === 0) throw new UsageError(`There are no ${options.split} questions. Write some with ${options.split === 'test' ? '--test-count' : '--count'}.`);
    const started = performance.now();
    const answers: { id: string; answer: string; completion: string; score: StoredScore; promptTokens: number }[] = [];
    await interruptible(async (signal, check) => {
      for (let i = 0; i < questions.length; i += batch) {
        check();
        const part = questions.slice(i, i + batch);
        const prompts: TokenSequence[] = [];
        for (const question of part) prompts.push(await question.prompt());
        const { model, adapter, maxNewTokens, stopIds, decode } = asked;
        const got = await generate(model, prompts, { maxNewTokens, stopIds, temperature: 0, seed: 0, signal, ...(adapter === undefined ? {} : { adapter }) });
        check();
        part.forEach(({ id, answer, score }, k) => {
          const completion = decode(got[k]!.tokens);
          answers.push({ id, answer, completion, score: score(completion), promptTokens: prompts[k]!.inputIds.length });
        });
        // Batches differ in length: buffers made for one are of no use to the next.
        if (i % (8 * batch) === 0) model.setTrainable();
        progress?.show({ type: 'progress', what: 'questions', done: answers.length, of: questions.length });
      }
    });
    progress?.end();
    const report = summary(dir, asked, answers, withPolicy, (performance.now() - started) / 1000);
    // The report first: what was measured is there even when the file cannot be written after all.
    console.log(json ? JSON.stringify(report) : inWords(report));
    if (file !== undefined) await writeFileAtomic(file, answers.map(({ id, answer, completion, score }) => `${JSON.stringify({ id, answer, completion, ...score })}\n`).join(''));
  } finally {
    progress?.end();
    asked.dispose();
  }
}

/** That the file of --completions can be written, before hours are spent on what is to be in it. What is there stays. */
function requireWritable(file: string): void {
  const refuse = (why: string) => new UsageError(`--completions ${file} cannot be written: ${why}. Give a file in a folder that is there and that you may write to.`);
  if (existsSync(file) && statSync(file).isDirectory()) throw refuse('it is a folder');
  const trial = `${file}.${process.pid}.tmp`;
  try {
    closeSync(openSync(trial, 'wx'));
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause));
  }
  rmSync(trial, { force: true });
}

async function open(dir: string, { adapter, data, split, withPolicy = false, system, maxNewTokens, batch, bits, limit }: EvalOptions): Promise<Asked> {
  if (isRunFolder(dir)) {
    if (data !== undefined || adapter !== undefined) throw new UsageError(`${dir} is a run with questions of its own. Leave ${data === undefined ? '--adapter' : '--data'} out, or give ${dir}/model as a checkpoint.`);
    if (bits !== undefined) throw new UsageError(`${dir} is a run, whose base is small. Leave --bits out.`);
    if (split !== 'test') throw new UsageError('--split train goes with --data; a run is evaluated on its unseen questions.');
    const opened = await openRun(dir, { withPolicy, limit });
    return { ...opened, kind: 'run', adapter: undefined, maxNewTokens: maxNewTokens ?? opened.maxNewTokens };
  }
  if (data === undefined) throw new UsageError(`${dir} is a checkpoint: say on what it is evaluated, as --data data/clevr.`);
  const stored = await openStored(data);
  let asked: QuestionSet | undefined;
  const longest = maxNewTokens ?? 512;
  const loaded = await loadModel(dir, adapter, bits, async (processor) => {
    asked = chatQuestions(stored, split, processor, { withPolicy, system, limit });
    return questionSizes(asked.questions, { batch, maxNewTokens: longest, config: processor.config });
  });
  const { processor, model, stopIds, dispose } = loaded;
  return {
    ...asked!,
    kind: stored.kind, model, stopIds, dispose, adapter: loaded.adapter, maxNewTokens: longest,
    decode: (tokens) => processor.tokenizer.decode(tokens, { skipSpecialTokens: true }),
  };
}

function summary(model: string, { kind, chance, majority, shortcuts }: Asked, answers: readonly { readonly score: StoredScore; readonly promptTokens: number }[], policyInPrompt: boolean, seconds: number): Evaluation {
  const n = answers.length;
  const mean = (of: (a: (typeof answers)[number]) => number) => answers.reduce((sum, a) => sum + of(a), 0) / n;
  const reward = mean((a) => a.score.accuracy);
  const half = n < 2 ? 1 : 1.959963984540054 * Math.sqrt(answers.reduce((sum, a) => sum + (a.score.accuracy - reward) ** 2, 0) / (n - 1) / n);
  return {
    model, kind, policyInPrompt,
    ...proportion(answers.filter((a) => a.score.correct).length, n),
    chance, majority, shortcuts,
    format: proportion(answers.filter((a) => a.score.format === 1).length, n),
    reward: { mean: reward, low: Math.max(0, reward - half), high: Math.min(1, reward + half) },
    ...(answers[0]!.score.tool === undefined ? {} : { tool: mean((a) => a.score.tool!) }),
    ...(answers[0]!.score.arguments === undefined ? {} : { arguments: mean((a) => a.score.arguments!) }),
    promptTokens: mean((a) => a.promptTokens),
    seconds,
  };
}

function inWords(e: Evaluation): string {
  const range = ({ low, high }: { readonly low: number; readonly high: number }) => `95 % interval ${percent(low)} to ${percent(high)}`;
  return [
    `${e.model}, ${e.n} questions, policy ${e.policyInPrompt ? 'in the prompt' : 'not in the prompt'}`,
    `${e.kind === 'gta-policy' ? 'tool     ' : 'accuracy '} ${percent(e.accuracy)}  (${range(e)})`,
    ...(e.tool === undefined ? [] : [`tool      ${percent(e.tool)}`]),
    ...(e.arguments === undefined ? [] : [`arguments ${percent(e.arguments)}`, `overall   ${percent(e.reward.mean)}  (${range(e.reward)})`]),
    `format    ${percent(e.format.accuracy)}  (${range(e.format)})`,
    ...(e.chance === null ? [] : [`chance    ${percent(e.chance)}`]),
    ...(e.majority === null ? [] : [`majority  ${percent(e.majority)}`]),
    ...(e.shortcuts === null ? [] : [`shortcuts ${percent(e.shortcuts.objectCount)} by the number of objects, ${percent(e.shortcuts.histogram)} by a histogram of attributes`]),
    `${e.promptTokens.toFixed(1)} prompt tokens on average, ${e.seconds.toFixed(1)} s`,
  ].join('\n');
}

function percent(x: number): string {
  return `${(100 * x).toFixed(1)} %`;
}
