/**
 * @file All stages of the paper on one engine, one after the other, each evaluated without the policy in the prompt:
 * base, VM-CPT, CoT SFT with LoRA, and RL from there (GRPO or DAPO, and PolicyRollout on either, all with as many rollouts).
 * Every stage is a function of config and seed; a run that was stopped goes on from its last checkpoint and ends with
 * the same weights.
 */
import { mcnemar, type RlReport, type RunReport, type SampledCompletion, type StageReport } from '@trimpi/eval';
import { adapterFiles, type ModelFiles, openCheckpoint, parseConfig, requireText, Tokenizer, VisionLanguageModel } from '@trimpi/model';
import { type Engine } from '@trimpi/runtime';
import { WordCodec } from './base/words.ts';
import type { Algorithm, RunConfig } from './config.ts';
import { makeRunData, PromptWriter, type RunData } from './data.ts';
import { PipelineError } from './errors.ts';
import { measureAccuracy } from './evaluation/accuracy.ts';
import { exportModel, writeReport } from './run-report.ts';
import { loadRunState, type RunState, saveRunState } from './run-state.ts';
import { checkedStorage, type RunStorage } from './storage.ts';
import { interrupt, type TrainContext } from './train/context.ts';
import type { Trained } from './train/loop.ts';
import { curvesOf, rlReport, trainRl } from './train/reinforce.ts';
import { trainSupervised } from './train/supervised.ts';
import { loadWeights, saveWeights } from './weights.ts';

export type StageName = 'base' | 'vm-cpt' | 'cot-sft' | Algorithm;

export type RunEvent =
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'stage'; readonly stage: StageName; readonly title: string; readonly steps: number; readonly firstStep: number }
  | { readonly type: 'step'; readonly stage: StageName; readonly step: number; readonly steps: number; readonly value: string; readonly tokensPerSecond: number; readonly secondsLeft: number }
  | { readonly type: 'progress'; readonly what: string; readonly done: number; readonly of: number }
  | { readonly type: 'evaluated'; readonly stage: StageName | 'in-context'; readonly title: string; readonly accuracy: number; readonly low: number; readonly high: number; readonly n: number };

export interface RunOptions {
  readonly config: RunConfig;
  readonly engine: Engine;
  /** What the report calls the adapter. */
  readonly adapterName: string;
  /** Files of the base model: config, tokenizer, weights. */
  readonly base: ModelFiles;
  readonly storage: RunStorage;
  readonly onEvent?: (event: RunEvent) => void;
  /** All rollouts of one question of every RL step, for those who watch. */
  readonly onCompletions?: (stage: StageName, completions: readonly SampledCompletion[]) => void;
  /** Stops after the current step, with everything saved; the promise rejects with `interrupted`. */
  readonly signal?: AbortSignal;
}

const TITLES: Readonly<Record<StageName, string>> = {
  base: 'Base',
  'vm-cpt': 'VM-CPT',
  'cot-sft': 'CoT SFT (LoRA)',
  grpo: 'GRPO, no policy in the rollouts',
  dapo: 'DAPO, no policy in the rollouts',
  'poro-grpo': 'PolicyRollout on GRPO',
  'poro-dapo': 'PolicyRollout on DAPO',
};

/** The stage whose weights a stage begins with. */
const PREDECESSOR: Readonly<Record<Exclude<StageName, 'base'>, StageName>> = { 'vm-cpt': 'base', 'cot-sft': 'vm-cpt', grpo: 'cot-sft', dapo: 'cot-sft', 'poro-grpo': 'cot-sft', 'poro-dapo': 'cot-sft' };

/** Examples whose answers the report shows. */
const SHOWN = 6;

export async function run(options: RunOptions): Promise<RunReport> {
  return new Run(options).execute();
}

class Run {
  readonly #o: RunOptions;
  readonly #emit: (event: RunEvent) => void;
  #state: RunState;
  #model!: VisionLanguageModel;
  #data!: RunData;
  #writer!: PromptWriter;
  /** Seconds of earlier sessions of this run, and when this one began. */
  #secondsBefore = 0;
  readonly #began = performance.now();

  constructor(options: RunOptions) {
    this.#o = { ...options, storage: checkedStorage(options.storage) };
    this.#emit = options.onEvent ?? (() => undefined);
    this.#state = { version: 1, config: options.config, finished: [], seconds: 0 };
  }

  async execute(): Promise<RunReport> {
    const { config, base, storage, engine, adapterName } = this.#o;
    const before = await loadRunState(storage, config);
    if (before !== null) {
      this.#state = before;
      this.#secondsBefore = before.seconds;
      if (before.finished.length > 0) this.#emit({ type: 'note', text: `Going on with the run in ${storage.name}: ${before.finished.map((f) => f.report.title).join(', ')} done.` });
    }
    this.#model = new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(base, 'config.json'))));
    try {
      await this.#model.load(await openCheckpoint(base));
      this.#writer = new PromptWriter(this.#model, new WordCodec(await Tokenizer.load(base)));
      this.#data = await makeRunData(this.#model, config, (done, of) => this.#emit({ type: 'progress', what: 'images', done, of }));
      await this.#base();
      await this.#stage('vm-cpt', config.vmCpt.steps, async (context) => ({ trained: await trainSupervised(context, { stage: 'vm-cpt', title: TITLES['vm-cpt'], kind: 'vm-cpt', settings: config.vmCpt }) }));
      await this.#stage('cot-sft', config.sft.steps, async (context) => {
        const trained = await trainSupervised(context, { stage: 'cot-sft', title: TITLES['cot-sft'], kind: 'cot-sft', settings: config.sft });
        for (const [name, data] of Object.entries(adapterFiles(trained.adapter!, 'trimpi-tiny-base + vm-cpt'))) await storage.write(`adapter/${name}`, data);
        return { trained };
      });
      for (const arm of config.arms) {
        await this.#stage(arm, config.rl.steps, async (context) => {
          const trained = await trainRl(context, { stage: arm, title: TITLES[arm], algorithm: arm, settings: config.rl });
          return { trained, rl: rlReport(trained.metrics) };
        });
      }
      await exportModel(storage, base, this.#model);
      await this.#saveState();
      return await writeReport(storage, base, this.#model, this.#data, this.#state, adapterName);
    } finally {
      this.#model.dispose();
    }
  }

  /** The base answers with the policy in the prompt, and without. */
  async #base(): Promise<void> {
    if (this.#isFinished('base')) return;
    this.#emit({ type: 'stage', stage: 'base', title: TITLES.base, steps: 0, firstStep: 0 });
    const { proportion, promptTokens, prefillMs } = await this.#evaluate(true);
    this.#state = { ...this.#state, inContext: { ...proportion, promptTokens, prefillMs } };
    this.#emit({ type: 'evaluated', stage: 'in-context', title: 'Base, policy in the prompt', ...proportion });
    await this.#finish('base', undefined);
  }

  async #stage(stage: Exclude<StageName, 'base'>, steps: number, train: (context: TrainContext) => Promise<{ trained: Trained; rl?: RlReport | undefined }>): Promise<void> {
    if (this.#isFinished(stage)) return;
    const { storage, config, signal } = this.#o;
    const title = TITLES[stage];
    const from = PREDECESSOR[stage];
    if (!(await loadWeights(storage, `${from}.safetensors`, this.#model)) && from !== 'base') throw new PipelineError('invalid-checkpoint', `${from}.safetensors`, 'is missing.', 'Start the run again in an empty folder.');
    const result = await train({
      model: this.#model, data: this.#data, writer: this.#writer, storage, seed: config.seed, saveSteps: config.saveSteps, signal,
      onBegin: (firstStep) => this.#emit({ type: 'stage', stage, title, steps, firstStep }),
      onStep: (step) => this.#emit({ type: 'step', stage, ...step }),
      onNote: (text) => this.#emit({ type: 'note', text }),
      onCompletions: this.#o.onCompletions && ((completions) => this.#o.onCompletions!(stage, completions)),
    }).catch(async (error: unknown) => {
      if (error instanceof PipelineError && error.code === 'interrupted') await this.#saveState();
      throw error;
    });
    await saveWeights(storage, `${stage}.safetensors`, this.#model);
    await this.#finish(stage, result);
  }

  /** Evaluates a stage without the policy in the prompt, and writes down that it is done. */
  async #finish(stage: StageName, result: { trained: Trained; rl?: RlReport | undefined } | undefined): Promise<void> {
    const title = TITLES[stage];
    const { proportion, outcomes, branchingError, promptTokens, prefillMs } = await this.#evaluate(false);
    this.#emit({ type: 'evaluated', stage, title, ...proportion });
    const { seconds, tokens } = result?.trained ?? { seconds: 0, tokens: 0 };
    const correct = outcomes.map((o) => o.correct);
    const before = stage === 'base' ? undefined : this.#state.finished.find((f) => f.report.name === PREDECESSOR[stage])?.correct;
    const report: StageReport = {
      name: stage, title, ...proportion, policyInPrompt: false, promptTokens, prefillMs, seconds,
      tokensPerSecond: seconds === 0 ? 0 : tokens / seconds,
      branchingError,
      ...(before === undefined ? {} : { pAgainstBefore: mcnemar(before, correct) }),
      ...(result?.rl === undefined ? {} : { rl: result.rl }),
    };
    const shown = outcomes.slice(0, SHOWN).map((x) => ({ text: x.completion, correct: x.correct }));
    this.#state = { ...this.#state, finished: [...this.#state.finished, { report, curves: curvesOf(title, result?.trained.metrics ?? []), shown, correct }] };
    await this.#saveState();
  }

  #evaluate(policyInPrompt: boolean) {
    const { config, storage, signal } = this.#o;
    return measureAccuracy({
      model: this.#model, writer: this.#writer, maxNewTokens: config.rl.maxNewTokens,
      onProgress: (done, of) => this.#emit({ type: 'progress', what: 'test questions', done, of }),
      check: async () => {
        if (signal?.aborted !== true) return;
        await this.#saveState();
        interrupt('evaluation', storage);
      },
    }, this.#data.test, policyInPrompt);
  }

  #isFinished(stage: StageName): boolean {
    return this.#state.finished.some((f) => f.report.name === stage);
  }

  async #saveState(): Promise<void> {
    this.#state = { ...this.#state, seconds: this.#secondsBefore + (performance.now() - this.#began) / 1000 };
    await saveRunState(this.#o.storage, this.#state);
  }
}
