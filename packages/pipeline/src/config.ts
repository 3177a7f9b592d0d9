import type { ScheduleOptions } from '@trimpi/trainers';
import { PipelineError } from './errors.ts';
import type { StageSettings } from './stages.ts';

/** The paper's objectives of RL: GRPO and DAPO, and PolicyRollout on each. */
export const PAPER_ALGORITHMS = ['grpo', 'dapo', 'poro-grpo', 'poro-dapo'] as const;
export type PaperAlgorithm = (typeof PAPER_ALGORITHMS)[number];

/** Further ones of `@trimpi/rollout`. */
const FURTHER = ['dr-grpo', 'rloo', 'gspo', 'cispo', 'reinforce-plus-plus'] as const;
export type Algorithm = PaperAlgorithm | (typeof FURTHER)[number] | `poro-${(typeof FURTHER)[number]}`;
export const ALGORITHMS: readonly Algorithm[] = [...PAPER_ALGORITHMS, ...FURTHER.flatMap((name) => [name, `poro-${name}`] as const)];

const NAMES = { grpo: 'GRPO', dapo: 'DAPO', 'dr-grpo': 'Dr. GRPO', rloo: 'RLOO', gspo: 'GSPO', cispo: 'CISPO', 'reinforce-plus-plus': 'REINFORCE++' } as const;
type PlainAlgorithm = keyof typeof NAMES;

/** What PolicyRollout is on, or the objective itself. */
export function plainOf(algorithm: Algorithm): PlainAlgorithm {
  return algorithm.replace(/^poro-/, '') as PlainAlgorithm;
}

/** `GRPO`, `PolicyRollout on GRPO`. */
export function algorithmName(algorithm: Algorithm): string {
  const plain = plainOf(algorithm);
  return plain === algorithm ? NAMES[plain] : `PolicyRollout on ${NAMES[plain]}`;
}

/** ClevrPolicy, or GTAPolicy: the paper's rules of tools. Both in compact words. */
export const RUN_BENCHMARKS = ['clevr', 'gta'] as const;
export type RunBenchmark = (typeof RUN_BENCHMARKS)[number];

/** What the data of a run are made from. */
export interface DataConfig {
  /** Default, and what is meant where it is left out: `clevr`. */
  readonly benchmark?: RunBenchmark;
  readonly seed: number;
  /** Depth of the policies' trees (ClevrPolicy; GTAPolicy takes no notice of it). */
  readonly n: number;
  /** Whether policies show some of their values by pictures (M) or are text alone (T, the default; GTAPolicy is). */
  readonly variant?: 't' | 'm';
  /** GTAPolicy is one. */
  readonly policies: number;
  /** Training scenes of each policy; the first `reasonedPerPolicy` of them come with reasoning. */
  readonly trainPerPolicy: number;
  readonly reasonedPerPolicy: number;
  /** Unseen questions in all. */
  readonly testSize: number;
}

/** A run of all stages on ClevrPolicy or GTAPolicy with a base that knows its words. Learning rates and steps are the demo's where not given. */
export interface RunConfig extends DataConfig {
  readonly vmCpt: StageConfig;
  readonly sft: StageConfig & { readonly r: number; readonly loraAlpha: number };
  readonly rl: RlConfig;
  /** The RL arms, all from the weights after SFT and with equally many rollouts. */
  readonly arms: readonly Algorithm[];
  /** Steps between two checkpoints. */
  readonly saveSteps: number;
}

/** What a stage may say besides, under the names of transformers. One that is left out is as it always was. */
export interface TrainingOptions {
  /** Steps of linear warm-up. Default 5, of RL 20, or all of them where there are fewer. */
  readonly warmupSteps?: number;
  /** What comes after the warm-up. Default `linear`: down to 0 at the end. */
  readonly lrSchedulerType?: (typeof SCHEDULES)[number];
  /** AdamW's, decoupled. Default 0. */
  readonly weightDecay?: number;
  /** Norm of the whole gradient above which it is scaled down; 0: never. Default 1. */
  readonly maxGradNorm?: number;
  /** Steps, one after the other, without a better loss (of RL: reward; with dynamic sampling that of all questions sampled) after which the stage ends. Default: it does not end early. */
  readonly earlyStoppingPatience?: number;
  /** What counts as better: more than this. Default 0. */
  readonly earlyStoppingThreshold?: number;
  /** What becomes of an update whose loss or gradient is not finite: `throw` ends the stage, `skip` leaves the weights as they are and counts it. Default `throw`. */
  readonly onNonFinite?: 'throw' | 'skip';
}

/** The same of RL, under the names of TRL. */
export interface RlTrainingOptions extends TrainingOptions {
  /** Weight of the KL penalty to the weights that RL began with, or (one adapter throughout) to the checkpoint without it. Arms that have no such term (DAPO, RLOO) go without; refused where all of them do. Default 0: no penalty, and no pass of a reference. */
  readonly beta?: number;
  /** Lower and upper clip of the ratio. Defaults: those of each arm's objective (GRPO 0.2 and 0.3, DAPO 0.2 and 0.28). */
  readonly epsilon?: number;
  readonly epsilonHigh?: number;
  /** Questions of an update: those of a step are cut into updates of so many. Default: all of them. */
  readonly promptsPerUpdate?: number;
  /** Passes over the completions of a step. Default 1. */
  readonly numIterations?: number;
  /** Whether questions whose completions all have the same reward are replaced by others, for at most 20 rounds a step. Default: in DAPO. */
  readonly dynamicSampling?: boolean;
  /** Takes completions that were cut off at `maxNewTokens` out of the loss. Default false. */
  readonly maskTruncatedCompletions?: boolean;
  /** DAPO's penalty of long answers: grows from 0 to 1 over the last so many tokens before `maxNewTokens`. Default: none. */
  readonly softPunishCache?: number;
}

export interface StageConfig extends TrainingOptions {
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
}

export interface RlConfig extends RlTrainingOptions {
  readonly steps: number;
  readonly learningRate: number;
  readonly promptsPerStep: number;
  /** Completions of each prompt; PolicyRollout makes half of them policy-aware. */
  readonly rollouts: number;
  readonly temperature: number;
  readonly maxNewTokens: number;
}

/** Schedules of the learning rate after its warm-up. */
export const SCHEDULES = ['constant', 'linear', 'cosine'] as const satisfies readonly ScheduleOptions['lrSchedulerType'][];

/** What `npm run demo` runs: ten minutes at most on two CPU cores. */
export const DEMO_CONFIG: RunConfig = {
  seed: 1,
  n: 2,
  variant: 't',
  policies: 4,
  trainPerPolicy: 100,
  reasonedPerPolicy: 4,
  testSize: 200,
  vmCpt: { steps: 40, batchSize: 16, learningRate: 4e-4 },
  sft: { steps: 30, batchSize: 16, learningRate: 3e-3, r: 8, loraAlpha: 16 },
  rl: { steps: 140, learningRate: 4e-4, promptsPerStep: 16, rollouts: 8, temperature: 1, maxNewTokens: 26 },
  arms: ['grpo', 'poro-grpo'],
  saveSteps: 20,
};

/** The same on GTAPolicy, for a base that knows its words (the small one): as many questions in its one policy, reasoning for each of its 32 cases, longer answers. */
export const GTA_CONFIG: RunConfig = {
  benchmark: 'gta',
  ...DEMO_CONFIG,
  policies: 1,
  trainPerPolicy: 400,
  reasonedPerPolicy: 48,
  // A call takes 36 words at most.
  rl: { ...DEMO_CONFIG.rl, maxNewTokens: 40 },
};

/** Settings over the demo's; of a stage only those that differ. */
export type RunOverrides = Partial<Omit<RunConfig, 'vmCpt' | 'sft' | 'rl'>> & { readonly [Stage in 'vmCpt' | 'sft' | 'rl']?: Partial<RunConfig[Stage]> };

/** Checks a config and fills in the demo's values, those of `GTA_CONFIG` for GTAPolicy. Throws `invalid-option` naming the field. */
export function resolveConfig({ benchmark = 'clevr', ...options }: RunOverrides = {}): RunConfig {
  const unknown = Object.keys(options).find((k) => !(k in DEMO_CONFIG));
  if (unknown !== undefined) throw new PipelineError('invalid-option', unknown, 'is not an option of a run.', `Known: ${Object.keys(GTA_CONFIG).join(', ')}.`);
  if (!RUN_BENCHMARKS.includes(benchmark)) throw new PipelineError('invalid-option', 'benchmark', `is ${String(benchmark)}.`, `Give one of ${RUN_BENCHMARKS.join(', ')}.`);
  const defaults = benchmark === 'gta' ? GTA_CONFIG : DEMO_CONFIG;
  checkObjects({ vmCpt: options.vmCpt, sft: options.sft, rl: options.rl });
  const { vmCpt, sft, rl } = defaults;
  // ClevrPolicy is not written down: settings are compared when a run is gone on with, and it had no name at first.
  const config = { ...defaults, ...options, vmCpt: { ...vmCpt, ...options.vmCpt }, sft: { ...sft, ...options.sft }, rl: { ...rl, ...options.rl } };
  checkStages(config);
  integer('n', config.n, 1, 6);
  if (config.variant !== 't' && config.variant !== 'm') throw new PipelineError('invalid-option', 'variant', `is ${String(config.variant)}.`, 'Give t or m.');
  integer('policies', config.policies, 1, 100);
  if (benchmark === 'gta') {
    for (const [name, one] of [['n', DEMO_CONFIG.n], ['variant', DEMO_CONFIG.variant]] as const) {
      if (config[name] !== one) bad(name, `is ${config[name]}, and belongs to ClevrPolicy.`, 'Leave it out, or set benchmark to clevr.');
    }
    if (config.policies !== 1) bad('policies', `is ${config.policies}, and GTAPolicy is one policy.`, 'Leave it out; trainPerPolicy says how many questions it is trained on.');
  }
  integer('trainPerPolicy', config.trainPerPolicy, 1);
  integer('reasonedPerPolicy', config.reasonedPerPolicy, 1, config.trainPerPolicy);
  integer('testSize', config.testSize, 1);
  integer('sft.r', config.sft.r, 1, 65_536);
  positive('sft.loraAlpha', config.sft.loraAlpha);
  return config;
}

/** @throws PipelineError `invalid-option` naming the field. */
export function positive(name: string, value: number): void {
  if (!(Number.isFinite(value) && value > 0)) throw new PipelineError('invalid-option', name, `is ${value}.`, 'Give a number above 0.');
}

/** @throws PipelineError `invalid-option` naming the field. */
export function integer(name: string, value: number, min: number, max = 1e9): void {
  if (!Number.isInteger(value) || value < min || value > max) throw new PipelineError('invalid-option', name, `is ${value}.`, `Give a whole number from ${min} to ${max}.`);
}

const TRAINING = Object.keys({
  steps: 1, learningRate: 1, warmupSteps: 1, lrSchedulerType: 1, weightDecay: 1, maxGradNorm: 1, earlyStoppingPatience: 1, earlyStoppingThreshold: 1, onNonFinite: 1,
} satisfies Record<keyof (TrainingOptions & Pick<StageConfig, 'steps' | 'learningRate'>), 1>);
const SUPERVISED = [...TRAINING, 'batchSize'];
const RL = [...TRAINING, ...Object.keys({
  promptsPerStep: 1, rollouts: 1, temperature: 1, maxNewTokens: 1, beta: 1, epsilon: 1, epsilonHigh: 1, promptsPerUpdate: 1, numIterations: 1,
  dynamicSampling: 1, maskTruncatedCompletions: 1, softPunishCache: 1,
} satisfies Record<Exclude<keyof RlConfig, keyof TrainingOptions | 'steps' | 'learningRate'>, 1>)];

/** Settings of stages that lie over others have to be objects, or nothing. Throws `invalid-option` naming the stage. */
export function checkObjects(stages: Readonly<Record<string, unknown>>): void {
  for (const [name, stage] of Object.entries(stages)) {
    if (stage !== undefined && (typeof stage !== 'object' || stage === null || Array.isArray(stage))) bad(name, `is ${JSON.stringify(stage)}.`, 'Give an object with settings, such as { "steps": 50 }, or leave it out.');
  }
}

/** Refuses what a stage has no setting for: a misspelt one would be as if it were left out. */
function checkNames(name: string, stage: object, known: readonly string[]): void {
  const unknown = Object.keys(stage).find((key) => !known.includes(key));
  if (unknown !== undefined) bad(`${name}.${unknown}`, 'is no setting.', `Known: ${known.join(', ')}.`);
}

/** Checks a supervised stage. Throws `invalid-option` naming the field. */
export function checkStage(name: string, stage: StageConfig): void {
  checkNames(name, stage, name === 'vmCpt' ? SUPERVISED : [...SUPERVISED, 'r', 'loraAlpha']);
  integer(`${name}.steps`, stage.steps, 0);
  integer(`${name}.batchSize`, stage.batchSize, 1);
  positive(`${name}.learningRate`, stage.learningRate);
  checkTraining(name, stage);
}

/** Checks what every run has. Throws `invalid-option` naming the field; `choice` is what its user chooses objectives by. */
export function checkStages(config: StageSettings, choice: 'arms' | 'rows' = 'arms'): void {
  integer('seed', config.seed, 0, 2 ** 32 - 1);
  integer('saveSteps', config.saveSteps, 1);
  checkStage('vmCpt', config.vmCpt);
  checkStage('sft', config.sft);
  checkNames('rl', config.rl, RL);
  integer('rl.steps', config.rl.steps, 0);
  integer('rl.promptsPerStep', config.rl.promptsPerStep, 1);
  integer('rl.rollouts', config.rl.rollouts, 2);
  if (config.rl.rollouts % 2 !== 0) throw new PipelineError('invalid-option', 'rl.rollouts', `is ${config.rl.rollouts}.`, 'Give an even number: half of them see the policy.');
  integer('rl.maxNewTokens', config.rl.maxNewTokens, 1);
  positive('rl.learningRate', config.rl.learningRate);
  positive('rl.temperature', config.rl.temperature);
  checkTraining('rl', config.rl);
  if (!Array.isArray(config.arms)) bad('arms', `is ${JSON.stringify(config.arms)}.`, `Give a list of some of ${ALGORITHMS.join(', ')}.`);
  const arm = config.arms.find((a, i) => !ALGORITHMS.includes(a) || config.arms.indexOf(a) !== i);
  if (arm !== undefined) throw new PipelineError('invalid-option', 'arms', `holds ${String(arm)}${ALGORITHMS.includes(arm) ? ' twice' : ''}.`, `Give each of ${ALGORITHMS.join(', ')} at most once.`);
  checkRlTraining(config.rl, config.arms, choice);
}

function bad(name: string, message: string, remedy: string): never {
  throw new PipelineError('invalid-option', name, message, remedy);
}

function atLeastZero(name: string, value: number | undefined): void {
  if (value !== undefined && !(Number.isFinite(value) && value >= 0)) bad(name, `is ${value}.`, 'Give a number from 0.');
}

function checkTraining(stage: string, { steps, warmupSteps, lrSchedulerType, weightDecay, maxGradNorm, earlyStoppingPatience, earlyStoppingThreshold, onNonFinite }: TrainingOptions & { readonly steps: number }): void {
  if (warmupSteps !== undefined) integer(`${stage}.warmupSteps`, warmupSteps, 0, steps);
  if (lrSchedulerType !== undefined && !SCHEDULES.includes(lrSchedulerType)) bad(`${stage}.lrSchedulerType`, `is ${String(lrSchedulerType)}.`, `Give one of ${SCHEDULES.join(', ')}.`);
  atLeastZero(`${stage}.weightDecay`, weightDecay);
  atLeastZero(`${stage}.maxGradNorm`, maxGradNorm);
  if (earlyStoppingPatience !== undefined) integer(`${stage}.earlyStoppingPatience`, earlyStoppingPatience, 1);
  atLeastZero(`${stage}.earlyStoppingThreshold`, earlyStoppingThreshold);
  if (onNonFinite !== undefined && onNonFinite !== 'throw' && onNonFinite !== 'skip') bad(`${stage}.onNonFinite`, `is ${String(onNonFinite)}.`, 'Give throw or skip.');
  if (earlyStoppingThreshold !== undefined && earlyStoppingPatience === undefined) bad(`${stage}.earlyStoppingThreshold`, 'is of no use without a patience.', `Set ${stage}.earlyStoppingPatience too, or leave it out.`);
}

/** Objectives that have no place for an option, and why. */
const LACKING: Readonly<Record<'beta' | 'epsilon', Readonly<Partial<Record<PlainAlgorithm, string>>>>> = {
  beta: { dapo: 'DAPO has no KL penalty', rloo: 'RLOO has no KL penalty in its loss' },
  epsilon: { cispo: 'CISPO has no lower clip' },
};

function checkRlTraining(rl: RlConfig, arms: readonly Algorithm[], choice: 'arms' | 'rows'): void {
  for (const name of ['beta', 'epsilon', 'epsilonHigh'] as const) atLeastZero(`rl.${name}`, rl[name]);
  // A ratio is above 0 anyway: a wider clip is none.
  if (rl.epsilon !== undefined && rl.epsilon > 1) bad('rl.epsilon', `is ${rl.epsilon}.`, 'Give a number from 0 to 1: ratios are clipped at 1 - epsilon.');
  const lacks = (name: 'beta' | 'epsilon') => (arm: Algorithm) => LACKING[name][plainOf(arm)] !== undefined;
  // The paper has a KL term under GRPO and none under DAPO, in one table.
  if ((rl.beta ?? 0) > 0 && arms.length > 0 && arms.every(lacks('beta'))) bad('rl.beta', `is ${rl.beta}, and ${LACKING.beta[plainOf(arms[0]!)]!}.`, `Add ${choice} that have one, such as ${choice === 'arms' ? 'grpo' : 'cot-sft+grpo'}, or take rl.beta out of the settings.`);
  const unclipped = rl.epsilon === undefined ? undefined : arms.find(lacks('epsilon'));
  if (unclipped !== undefined) bad('rl.epsilon', `is ${rl.epsilon}, and ${LACKING.epsilon[plainOf(unclipped)]!}.`, `Take ${unclipped} out of ${choice}, or rl.epsilon out of the settings.`);
  if (rl.promptsPerUpdate !== undefined) integer('rl.promptsPerUpdate', rl.promptsPerUpdate, 1, rl.promptsPerStep);
  if (rl.numIterations !== undefined) integer('rl.numIterations', rl.numIterations, 1, 1000);
  for (const name of ['dynamicSampling', 'maskTruncatedCompletions'] as const) {
    if (rl[name] !== undefined && typeof rl[name] !== 'boolean') bad(`rl.${name}`, `is ${String(rl[name])}.`, 'Give true or false.');
  }
  if (rl.softPunishCache !== undefined) integer('rl.softPunishCache', rl.softPunishCache, 1, rl.maxNewTokens);
}
