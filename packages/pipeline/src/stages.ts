/**
 * @file Stages one after the other, each from the weights of another, evaluated without the policy and written down. Every
 * stage is a function of settings and seed: one that was stopped goes on from its last checkpoint and ends with the
 * same weights.
 */
import { type CallScores, mcnemar, type Outcome, type RlReport, type SampledCompletion, type StageReport } from '@trimpi/eval';
import type { VisionLanguageModel } from '@trimpi/model';
import type { Metrics } from '@trimpi/trainers';
import { type Algorithm, algorithmName, type RlConfig, type StageConfig } from './config.ts';
import { PipelineError } from './errors.ts';
import { measureAccuracy } from './evaluation/accuracy.ts';
import { type RunState, saveRunState } from './run-state.ts';
import type { RunStorage } from './storage.ts';
import type { Task } from './task.ts';
import { interrupt, type TrainContext } from './train/context.ts';
import type { Trained } from './train/loop.ts';
import { curvesOf, rlReport, trainRl } from './train/reinforce.ts';
import { type SupervisedStage, trainSupervised } from './train/supervised.ts';
import { loadWeights, saveWeights } from './weights.ts';

export type StageName = 'base' | 'vm-cpt' | 'cot-sft' | Algorithm;

export type RunEvent =
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'stage'; readonly stage: StageName; readonly title: string; readonly steps: number; readonly firstStep: number }
  | { readonly type: 'step'; readonly stage: StageName; readonly step: number; readonly steps: number; /** Steps there will be, going by those so far. */ readonly of: number; readonly value: string; /** All numbers of the step, under the trainer's names. */ readonly metrics: Metrics; readonly tokensPerSecond: number; readonly secondsLeft: number }
  | { readonly type: 'progress'; readonly what: string; readonly done: number; readonly of: number }
  | { readonly type: 'evaluated'; readonly stage: StageName | 'in-context'; readonly title: string; readonly accuracy: number; readonly low: number; readonly high: number; readonly n: number; readonly promptTokens: number; /** GTAPolicy's scores. */ readonly calls?: CallScores; /** Answers to the first questions. */ readonly shown: readonly ShownAnswer[] };

export interface ShownAnswer {
  readonly id: string;
  readonly text: string;
  readonly correct: boolean;
}

/** What every run is given besides its settings. */
export interface StageOptions {
  readonly storage: RunStorage;
  readonly onEvent?: (event: RunEvent) => void;
  /** All rollouts of one question of every RL step, for those who watch. */
  readonly onCompletions?: (stage: StageName, completions: readonly SampledCompletion[]) => void;
  /** Stops after the current step, with everything saved; the promise rejects with `interrupted`. */
  readonly signal?: AbortSignal;
}

/** The settings of a run that its stages take. */
export interface StageSettings {
  readonly seed: number;
  readonly vmCpt: StageConfig;
  readonly sft: StageConfig & { readonly r?: number; readonly loraAlpha?: number };
  /** Of the adapter, where `sft` does not say it. */
  readonly lora?: { readonly r: number; readonly loraAlpha: number };
  readonly rl: RlConfig;
  /** The RL arms, all from the weights after SFT and with equally many rollouts. */
  readonly arms: readonly Algorithm[];
  readonly saveSteps: number;
}

const TITLES = { base: 'Base', 'vm-cpt': 'VM-CPT', 'cot-sft': 'CoT SFT (LoRA)' } as const;

/** What a report calls a stage. */
export function stageTitle(stage: StageName): string {
  if (stage in TITLES) return TITLES[stage as keyof typeof TITLES];
  const name = algorithmName(stage as Algorithm);
  return stage.startsWith('poro-') ? name : `${name}, no policy in the rollouts`;
}

/** The stage whose weights a stage begins with. */
function predecessor(stage: Exclude<StageName, 'base'>): StageName {
  return stage === 'vm-cpt' ? 'base' : stage === 'cot-sft' ? 'vm-cpt' : 'cot-sft';
}

/** Examples whose answers the report shows. */
const SHOWN = 6;

export interface StagesOptions<Config extends StageSettings> extends StageOptions {
  /** What is done, from `loadRunState`, or a fresh state. */
  readonly state: RunState<Config>;
  readonly model: VisionLanguageModel;
  /** Trained throughout when given; see `TrainContext`. */
  readonly adapter?: string;
  readonly task: Task;
  readonly maxTokens?: number;
  readonly maxRollouts?: number;
  /** The adapter that SFT trained and merged. */
  readonly onAdapter?: (adapter: NonNullable<Awaited<ReturnType<typeof trainSupervised>>['adapter']>) => Promise<void>;
}

/** Base (with and without the policy in the prompt), VM-CPT, CoT SFT and the RL arms, as far as they are not done. Returns what is done then; the model holds the weights of the last stage. */
export async function runStages<Config extends StageSettings>(options: StagesOptions<Config>): Promise<RunState<Config>> {
  return new Stages(options).execute();
}

class Stages<Config extends StageSettings> {
  readonly #o: StagesOptions<Config>;
  readonly #emit: (event: RunEvent) => void;
  #state: RunState<Config>;
  /** When this session began. */
  readonly #began = performance.now();

  constructor(options: StagesOptions<Config>) {
    this.#o = options;
    this.#emit = options.onEvent ?? (() => undefined);
    this.#state = options.state;
  }

  async execute(): Promise<RunState<Config>> {
    const { state: { config, finished }, storage, onAdapter } = this.#o;
    if (finished.length > 0) this.#emit({ type: 'note', text: `Going on with the run in ${storage.name}: ${finished.map((f) => f.report.title).join(', ')} done.` });
    await this.#base();
    const supervised = (kind: 'vm-cpt' | 'cot-sft', settings: SupervisedStage['settings']) =>
      this.#stage(kind, settings.steps, async (context) => {
        const trained = await trainSupervised(context, { stage: kind, title: stageTitle(kind), kind, settings });
        if (trained.adapter !== undefined) await onAdapter?.(trained.adapter);
        return { trained };
      });
    await supervised('vm-cpt', config.vmCpt);
    await supervised('cot-sft', { ...config.lora, ...config.sft });
    for (const arm of config.arms) {
      await this.#stage(arm, config.rl.steps, async (context) => {
        const trained = await trainRl(context, { stage: arm, title: stageTitle(arm), algorithm: arm, settings: config.rl });
        return { trained, rl: rlReport(trained.metrics) };
      });
    }
    await this.#load(this.#state.finished[this.#state.finished.length - 1]!.report.name as StageName);
    await this.#saveState();
    return this.#state;
  }

  /** The base answers with the policy in the prompt, and without. */
  async #base(): Promise<void> {
    if (this.#isFinished('base')) return;
    this.#emit({ type: 'stage', stage: 'base', title: stageTitle('base'), steps: 0, firstStep: 0 });
    const { proportion, outcomes, promptTokens, prefillMs } = await this.#evaluate(true);
    const calls = this.#calls(outcomes);
    this.#state = { ...this.#state, inContext: { ...proportion, promptTokens, prefillMs, ...calls } };
    this.#emit({ type: 'evaluated', stage: 'in-context', title: 'Base, policy in the prompt', ...proportion, promptTokens, ...calls, shown: this.#shown(outcomes) });
    await this.#finish('base', undefined);
  }

  async #stage(stage: Exclude<StageName, 'base'>, steps: number, train: (context: TrainContext) => Promise<{ trained: Trained; rl?: RlReport | undefined }>): Promise<void> {
    if (this.#isFinished(stage)) return;
    const { model, adapter, task, maxTokens, maxRollouts, storage, signal, state: { config: { seed, saveSteps } } } = this.#o;
    const title = stageTitle(stage);
    await this.#load(predecessor(stage));
    const result = await train({
      model, adapter, task, maxTokens, maxRollouts, storage, seed, saveSteps, signal,
      onBegin: (firstStep) => this.#emit({ type: 'stage', stage, title, steps, firstStep }),
      onStep: (step) => this.#emit({ type: 'step', stage, ...step }),
      onNote: (text) => this.#emit({ type: 'note', text }),
      onCompletions: this.#o.onCompletions && ((completions) => this.#o.onCompletions!(stage, completions)),
    }).catch(async (error: unknown) => {
      if (error instanceof PipelineError && error.code === 'interrupted') await this.#saveState();
      throw error;
    });
    await saveWeights(storage, `${stage}.safetensors`, model, adapter);
    await this.#finish(stage, result);
  }

  /** Puts the weights that a stage ended with into the model, which holds those of the base at first. */
  async #load(stage: StageName): Promise<void> {
    const { model, adapter, storage } = this.#o;
    if (stage !== 'base' && !(await loadWeights(storage, `${stage}.safetensors`, model, adapter))) throw new PipelineError('invalid-checkpoint', `${stage}.safetensors`, 'is missing.', 'Start the run again in an empty folder.');
  }

  /** Evaluates a stage without the policy in the prompt, and writes down that it is done. */
  async #finish(stage: StageName, result: { trained: Trained; rl?: RlReport | undefined } | undefined): Promise<void> {
    const title = stageTitle(stage);
    const { proportion, outcomes, promptTokens, prefillMs } = await this.#evaluate(false);
    const shown = this.#shown(outcomes);
    const calls = this.#calls(outcomes);
    this.#emit({ type: 'evaluated', stage, title, ...proportion, promptTokens, ...calls, shown });
    const { seconds, tokens } = result?.trained ?? { seconds: 0, tokens: 0 };
    const correct = outcomes.map((o) => o.correct);
    const before = stage === 'base' ? undefined : this.#state.finished.find((f) => f.report.name === predecessor(stage))?.correct;
    const branchingError = this.#o.task.branchingError?.(outcomes.map((o) => o.completion));
    const report: StageReport = {
      name: stage, title, ...proportion, policyInPrompt: false, promptTokens, prefillMs, seconds,
      tokensPerSecond: seconds === 0 ? 0 : tokens / seconds,
      ...(branchingError === undefined ? {} : { branchingError }),
      ...calls,
      ...(before === undefined ? {} : { pAgainstBefore: mcnemar(before, correct) }),
      ...(result?.rl === undefined ? {} : { rl: result.rl }),
    };
    this.#state = { ...this.#state, finished: [...this.#state.finished, { report, curves: curvesOf(title, result?.trained.metrics ?? []), shown: shown.map(({ text, correct: right }) => ({ text, correct: right })), correct }] };
    await this.#saveState();
  }

  #evaluate(policyInPrompt: boolean) {
    const { model, adapter, task, maxRollouts, storage, signal, state: { config } } = this.#o;
    return measureAccuracy({
      model, adapter, task, maxRollouts, maxNewTokens: config.rl.maxNewTokens,
      onProgress: (done, of) => this.#emit({ type: 'progress', what: 'test questions', done, of }),
      check: async () => {
        if (signal?.aborted !== true) return;
        await this.#saveState();
        interrupt('evaluation', storage);
      },
    }, task.test, policyInPrompt);
  }

  #calls(outcomes: readonly Outcome[]): { readonly calls?: CallScores } {
    const calls = this.#o.task.calls?.(outcomes.map((o) => o.completion));
    return calls === undefined ? {} : { calls };
  }

  #shown(outcomes: readonly Outcome[]): ShownAnswer[] {
    return outcomes.slice(0, SHOWN).map((o, i) => ({ id: this.#o.task.test[i]!.id, text: o.completion, correct: o.correct }));
  }

  #isFinished(stage: StageName): boolean {
    return this.#state.finished.some((f) => f.report.name === stage);
  }

  async #saveState(): Promise<void> {
    this.#state = { ...this.#state, seconds: this.#o.state.seconds + (performance.now() - this.#began) / 1000 };
    await saveRunState(this.#o.storage, this.#state);
  }
}
