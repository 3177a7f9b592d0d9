/**
 * @file All stages of the paper on one engine, one after the other, each evaluated without the policy in the prompt:
 * base, VM-CPT, CoT SFT with LoRA, and RL from there (GRPO, and PolicyRollout on GRPO with as many rollouts).
 * Every stage is a function of config and seed; a run that was stopped goes on from its last checkpoint and ends with
 * the same weights.
 */
import { evaluate, findings, majorityAccuracy, type Curve, type ReportExample, type RunReport, type StageReport } from '@trimpi/eval';
import { generate, loraConfig, type ModelFiles, openCheckpoint, parseConfig, requireText, serializeSafetensors, Tokenizer, VisionLanguageModel, adapterFiles, publishedKey } from '@trimpi/model';
import { poroGrpo } from '@trimpi/rollout';
import { type Engine } from '@trimpi/runtime';
import { readTrainingState, RlTrainer, SupervisedTrainer, writeTrainingState } from '@trimpi/trainers';
import { WordCodec } from './base/words.ts';
import { loadSnapshot, saveSnapshot } from './checkpoint.ts';
import type { RunConfig } from './config.ts';
import { makeRunData, PromptWriter, type RunData, type RunItem, scoreItem } from './data.ts';
import { PipelineError } from './errors.ts';
import type { RunStorage } from './storage.ts';

export type StageName = 'base' | 'vm-cpt' | 'cot-sft' | 'grpo' | 'poro-grpo';

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
  /** Stops after the current step, with everything saved; the promise rejects with `interrupted`. */
  readonly signal?: AbortSignal;
}

const TITLES: Readonly<Record<StageName, string>> = {
  base: 'Base',
  'vm-cpt': 'VM-CPT',
  'cot-sft': 'CoT SFT (LoRA)',
  grpo: 'GRPO, no policy in the rollouts',
  'poro-grpo': 'PolicyRollout on GRPO',
};

/** What is saved with the weights in the middle of a stage. */
interface Progress {
  readonly stage: StageName;
  readonly step: number;
  readonly seconds: number;
  readonly tokens: number;
  readonly points: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  /** Lines of completions kept for the reader. */
  readonly samples: readonly string[];
}

interface Finished {
  readonly report: StageReport;
  readonly curves: readonly Curve[];
  /** Completions of the examples that the report shows. */
  readonly shown: readonly { readonly text: string; readonly correct: boolean }[];
}

interface RunState {
  readonly version: 1;
  readonly config: RunConfig;
  readonly inContext?: RunReport['inContext'];
  readonly finished: readonly Finished[];
  readonly seconds: number;
}

const STATE_FILE = 'run.json';
const CHECKPOINT_FILE = 'checkpoint.safetensors';
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
    await this.#resume();
    const tokenizer = await Tokenizer.load(this.#o.base);
    const config = parseConfig(JSON.parse(await requireText(this.#o.base, 'config.json')));
    this.#model = new VisionLanguageModel(this.#o.engine, config);
    try {
      await this.#model.load(await openCheckpoint(this.#o.base));
      this.#writer = new PromptWriter(this.#model, new WordCodec(tokenizer));
      this.#data = await makeRunData(this.#model, this.#o.config, (done, of) => this.#emit({ type: 'progress', what: 'images', done, of }));
      await this.#stage('base', 0, async () => undefined);
      await this.#stage('vm-cpt', this.#o.config.vmCpt.steps, async () => this.#supervised('vm-cpt'));
      await this.#stage('cot-sft', this.#o.config.sft.steps, async () => this.#supervised('cot-sft'));
      for (const arm of this.#o.config.arms) await this.#stage(arm, this.#o.config.rl.steps, async () => this.#reinforce(arm));
      await this.#exportModel();
      return await this.#report();
    } finally {
      this.#model.dispose();
    }
  }

  // ---- stages

  /** Weights a stage begins with: those its predecessor ended with. */
  #startsFrom(stage: StageName): StageName {
    return stage === 'vm-cpt' ? 'base' : stage === 'cot-sft' ? 'vm-cpt' : 'cot-sft';
  }

  async #stage(stage: StageName, steps: number, train: () => Promise<{ curves: Curve[]; seconds: number; tokens: number } | undefined>): Promise<void> {
    if (this.#state.finished.some((f) => f.report.name === stage)) return;
    const title = TITLES[stage];
    if (stage === 'base') {
      this.#emit({ type: 'stage', stage, title, steps, firstStep: 0 });
      const aware = await this.#evaluate(true);
      this.#state = { ...this.#state, inContext: { ...aware.proportion, promptTokens: aware.promptTokens, prefillMs: aware.prefillMs } };
      this.#emit({ type: 'evaluated', stage: 'in-context', title: 'Base, policy in the prompt', ...aware.proportion });
    } else {
      const snapshot = await loadSnapshot(this.#o.storage, weightsFile(this.#startsFrom(stage)));
      if (snapshot !== null) this.#model.text.values.write(snapshot.tensors.get('text')!);
      else if (this.#startsFrom(stage) !== 'base') throw new PipelineError('invalid-checkpoint', weightsFile(this.#startsFrom(stage)), 'is missing.', 'Start the run again in an empty folder.');
    }
    const trained = await train();
    if (stage !== 'base') await saveSnapshot(this.#o.storage, weightsFile(stage), { tensors: new Map([['text', Float32Array.from(await this.#model.text.values.read())]]), state: null });
    const evaluation = await this.#evaluate(false);
    this.#emit({ type: 'evaluated', stage, title, ...evaluation.proportion });
    const report: StageReport = {
      name: stage,
      title,
      ...evaluation.proportion,
      policyInPrompt: false,
      promptTokens: evaluation.promptTokens,
      prefillMs: evaluation.prefillMs,
      tokensPerSecond: trained === undefined || trained.seconds === 0 ? 0 : trained.tokens / trained.seconds,
      seconds: trained?.seconds ?? 0,
    };
    this.#state = { ...this.#state, finished: [...this.#state.finished, { report, curves: trained?.curves ?? [], shown: evaluation.shown }] };
    await this.#saveState();
  }

  /** Runs a trainer's steps with checkpoints, progress and interruption. */
  async #loop(stage: StageName, steps: number, trainer: { step: number }, next: () => Promise<{ values: Record<string, number>; line: string; tokens: number }>, samples: string[] = []): Promise<{ curves: Curve[]; seconds: number; tokens: number }> {
    const points: Record<string, [number, number][]> = {};
    let seconds = 0;
    let tokens = 0;
    const saved = await loadSnapshot(this.#o.storage, CHECKPOINT_FILE);
    const progress = saved?.state as Progress | undefined;
    if (saved !== null && progress?.stage === stage) {
      const bad = writeTrainingState(this.#model, saved.tensors);
      if (bad.length > 0) throw new PipelineError('invalid-checkpoint', CHECKPOINT_FILE, `does not fit this run (${bad.join(', ')}).`, 'Delete it to begin the stage again.');
      trainer.step = progress.step;
      seconds = progress.seconds;
      tokens = progress.tokens;
      samples.push(...progress.samples);
      for (const [k, v] of Object.entries(progress.points)) points[k] = v.map(([a, b]) => [a, b]);
    }
    this.#emit({ type: 'stage', stage, title: TITLES[stage], steps, firstStep: trainer.step });
    const save = async () =>
      saveSnapshot(this.#o.storage, CHECKPOINT_FILE, { tensors: await readTrainingState(this.#model), state: { stage, step: trainer.step, seconds, tokens, points, samples } satisfies Progress });
    while (trainer.step < steps) {
      if (this.#o.signal?.aborted === true) {
        await save();
        await this.#saveState();
        this.#interrupt(`${TITLES[stage]}, step ${trainer.step}`);
      }
      const start = performance.now();
      const { values, line, tokens: own } = await next();
      seconds += (performance.now() - start) / 1000;
      tokens += own;
      for (const [k, v] of Object.entries(values)) (points[k] ??= []).push([trainer.step, v]);
      this.#emit({ type: 'step', stage, step: trainer.step, steps, value: line, tokensPerSecond: tokens / seconds, secondsLeft: (seconds / trainer.step) * (steps - trainer.step) });
      // The last step too: a run that is stopped during the evaluation behind it does not train again.
      if (trainer.step % this.#o.config.saveSteps === 0 || trainer.step === steps) await save();
    }
    return { curves: Object.entries(points).map(([name, p]) => ({ stage: TITLES[stage], name, points: p })), seconds, tokens };
  }

  async #supervised(stage: 'vm-cpt' | 'cot-sft') {
    const { config } = this.#o;
    const model = this.#model;
    const sft = stage === 'cot-sft';
    const settings = sft ? config.sft : config.vmCpt;
    if (sft) model.addAdapter('sft', loraConfig({ r: config.sft.r, loraAlpha: config.sft.loraAlpha }), config.seed);
    model.setTrainable(sft ? { adapter: 'sft' } : 'text');
    const trainer = new SupervisedTrainer(model, {
      rows: this.#data.reasoned.map((item) => (sft ? this.#writer.sftRow(item) : this.#writer.vmCptRow(item))),
      batchSize: settings.batchSize,
      lossMean: sft ? 'token' : 'sequence',
      learningRate: settings.learningRate,
      steps: settings.steps,
      warmupSteps: Math.min(5, settings.steps),
      lrSchedulerType: 'linear',
      seed: config.seed,
      ...(sft ? { adapter: 'sft' } : {}),
    });
    const trained = await this.#loop(stage, settings.steps, trainer, async () => {
      const m = await trainer.next();
      return { values: { loss: m.loss }, line: `loss ${m.loss.toFixed(3)}`, tokens: m.numTokens };
    });
    if (sft) {
      const files = adapterFiles(await model.adapter('sft').toAdapter(), 'trimpi-tiny-base + vm-cpt');
      for (const [name, data] of Object.entries(files)) await this.#o.storage.write(`adapter/${name}`, data);
      await model.merge('sft');
      model.setTrainable();
      model.removeAdapter('sft');
    } else model.setTrainable();
    return trained;
  }

  async #reinforce(stage: 'grpo' | 'poro-grpo') {
    const { config } = this.#o;
    const { rl } = config;
    const model = this.#model;
    const poro = stage === 'poro-grpo';
    const rewardWeights = { accuracy: 0.9, format: 0.1 };
    model.setTrainable('text');
    const items = new Map(this.#data.train.map((item) => [item.example.id, item]));
    const samples: string[] = [];
    const trainer = new RlTrainer(model, {
      examples: this.#data.train.map((item) => this.#writer.rlExample(item)),
      // The paper's clip and group advantages; no KL term here (beta 0), which would cost one more pass a step.
      // Without policy-aware rollouts the same objective is plain GRPO.
      objective: poroGrpo({ beta: 0, rewardWeights }),
      reward: (rollouts) => {
        const scores = rollouts.map((r) => scoreItem(items.get(r.example.id)!, this.#writer.text(r.completion.tokens)));
        return { accuracy: scores.map((s) => s.accuracy), format: scores.map((s) => s.format) };
      },
      promptsPerStep: rl.promptsPerStep,
      policyFree: poro ? rl.rollouts / 2 : rl.rollouts,
      policyAware: poro ? rl.rollouts / 2 : 0,
      maxNewTokens: rl.maxNewTokens,
      stopIds: [model.config.eosTokenId!],
      temperature: rl.temperature,
      learningRate: rl.learningRate,
      steps: rl.steps,
      warmupSteps: Math.min(5, rl.steps),
      lrSchedulerType: 'linear',
      seed: config.seed,
      onRollouts: (step, rollouts, rewards, advantages) => {
        if (step % config.saveSteps !== 0) return;
        rollouts.slice(0, rl.rollouts).forEach((r, i) => samples.push(JSON.stringify({ step, id: r.example.id, origin: r.origin, text: this.#writer.text(r.completion.tokens), accuracy: rewards['accuracy']![i], advantage: advantages[i] })));
      },
    });
    const trained = await this.#loop(stage, rl.steps, trainer, async () => {
      const m = await trainer.next();
      const values = {
        reward: m.reward,
        'accuracy, policy-free': m['rewards/accuracy/free'] ?? 0,
        ...(poro ? { 'accuracy, policy-aware': m['rewards/accuracy/policy'] ?? 0 } : {}),
        'groups with an advantage': m.frac_groups_with_advantage,
      };
      const line = `reward ${m.reward.toFixed(3)}, accuracy ${values['accuracy, policy-free'].toFixed(2)} without${poro ? `, ${(values as Record<string, number>)['accuracy, policy-aware']!.toFixed(2)} with` : ''} policy`;
      return { values, line, tokens: m.num_tokens + m.sampled_tokens };
    }, samples);
    model.setTrainable();
    await this.#o.storage.write(`completions-${stage}.jsonl`, samples.map((s) => `${s}\n`).join(''));
    return trained;
  }

  /** Ends the run as asked. What was trained has been saved before. */
  #interrupt(where: string): never {
    throw new PipelineError('interrupted', where, 'stopped as asked; everything is saved.', `Run the same command again to go on (${this.#o.storage.name}).`);
  }

  // ---- evaluation

  async #evaluate(policyInPrompt: boolean) {
    const { test } = this.#data;
    const model = this.#model;
    const maxNewTokens = this.#o.config.rl.maxNewTokens;
    const stopIds = [model.config.eosTokenId!];
    const prompts = test.map((item) => this.#writer.prompt(item, policyInPrompt));
    const result = await evaluate<number>(
      test.map((item, i) => ({ prompt: i, score: (completion: string) => scoreItem(item, completion).accuracy === 1 })),
      async (indices) => {
        if (this.#o.signal?.aborted === true) {
          await this.#saveState();
          this.#interrupt('evaluation');
        }
        const completions = await generate(model, indices.map((i) => prompts[i]!), { temperature: 0, maxNewTokens, stopIds, seed: 0 });
        return completions.map((c) => this.#writer.text(c.tokens));
      },
      { batchSize: 50, onProgress: (done) => this.#emit({ type: 'progress', what: 'test questions', done, of: test.length }) },
    );
    const times: number[] = [];
    for (let i = 0; i < 8; i++) {
      const start = performance.now();
      await generate(model, [prompts[i % prompts.length]!], { temperature: 0, maxNewTokens: 1, stopIds, seed: 0 });
      times.push(performance.now() - start);
    }
    const { accuracy, low, high, n } = result;
    return {
      proportion: { accuracy, low, high, n },
      promptTokens: prompts.reduce((s, p) => s + p.inputIds.length, 0) / prompts.length,
      // The first run also compiles; the median of the others.
      prefillMs: times.slice(1).sort((a, b) => a - b)[3]!,
      shown: result.outcomes.slice(0, SHOWN).map((x) => ({ text: x.completion, correct: x.correct })),
    };
  }

  // ---- files

  async #resume(): Promise<void> {
    const bytes = await this.#o.storage.read(STATE_FILE);
    if (bytes === null) return;
    let state: RunState;
    try {
      state = JSON.parse(new TextDecoder().decode(bytes)) as RunState;
      if (state.version !== 1 || !Array.isArray(state.finished)) throw new Error('it has not the form of a run');
    } catch (cause) {
      throw new PipelineError('invalid-checkpoint', `${this.#o.storage.name}/${STATE_FILE}`, `cannot be read (${cause instanceof Error ? cause.message : String(cause)}).`, 'Give another folder, or delete the file to begin again.', { cause });
    }
    if (JSON.stringify(state.config) !== JSON.stringify(this.#o.config)) {
      throw new PipelineError('invalid-option', this.#o.storage.name, 'holds a run with other settings or another seed.', 'Give the same ones to go on, or another --out.');
    }
    this.#state = state;
    this.#secondsBefore = state.seconds;
    if (state.finished.length > 0) this.#emit({ type: 'note', text: `Going on with the run in ${this.#o.storage.name}: ${state.finished.map((f) => f.report.title).join(', ')} done.` });
  }

  #seconds(): number {
    return this.#secondsBefore + (performance.now() - this.#began) / 1000;
  }

  async #saveState(): Promise<void> {
    this.#state = { ...this.#state, seconds: this.#seconds() };
    await this.#o.storage.write(STATE_FILE, JSON.stringify(this.#state));
  }

  /** The model with the policy inside, as a checkpoint that transformers loads. */
  async #exportModel(): Promise<void> {
    const tensors = new Map([...(await this.#model.tensors())].map(([name, t]) => [publishedKey(name, this.#model.config.modelType), t] as const));
    await this.#o.storage.write('model/model.safetensors', serializeSafetensors(tensors));
    for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) await this.#o.storage.write(`model/${file}`, await requireText(this.#o.base, file));
  }

  async #report(): Promise<RunReport> {
    const { config } = this.#o;
    const { finished, inContext } = this.#state;
    const policies = this.#data.dataset.policies;
    const answers = (items: readonly RunItem[]) => items.map(({ example }) => ({ policyId: example.policyId, answer: example.answer }));
    const partial = {
      title: `TriMPI: ${policies.length} policies of ${policies[0]!.tree.leaves.length} cases into the weights (ClevrPolicy-T, N=${config.n})`,
      seed: config.seed,
      adapter: this.#o.adapterName,
      seconds: this.#seconds(),
      chance: 1 / policies[0]!.tree.leaves.length,
      majority: majorityAccuracy(answers(this.#data.train), answers(this.#data.test)),
      inContext: inContext!,
      stages: finished.map((f) => f.report),
      settings: { ...config },
    };
    const report: RunReport = { ...partial, findings: findings(partial) };
    const examples: ReportExample[] = this.#data.test.slice(0, SHOWN).map(({ example }, i) => ({
      image: example.images[0]!,
      query: example.query,
      answer: example.answer,
      completions: finished.map((f) => ({ stage: f.report.title, ...f.shown[i]! })),
    }));
    await this.#o.storage.write('report.json', `${JSON.stringify(report, null, 2)}\n`);
    // Charts are half of a page's script: they come when the report is written.
    const { renderReport } = await import('@trimpi/eval/html');
    await this.#o.storage.write('report.html', renderReport(report, finished.flatMap((f) => f.curves), examples));
    await this.#saveState();
    return report;
  }
}

/** Storage whose failures are typed and say that nothing saved before is lost. */
function checkedStorage(storage: RunStorage): RunStorage {
  return {
    name: storage.name,
    read: (file) => storage.read(file),
    async write(file, data) {
      try {
        await storage.write(file, data);
      } catch (cause) {
        throw new PipelineError('storage', `${storage.name}/${file}`, `could not be written (${cause instanceof Error ? cause.message : String(cause)}).`, 'Make room or give another folder; what was saved before is still there, and the run goes on from it.', { cause });
      }
    },
  };
}

function weightsFile(stage: StageName): string {
  return `${stage}.safetensors`;
}
