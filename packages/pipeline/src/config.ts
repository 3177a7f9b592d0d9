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

/** What the data of a run are made from. */
export interface DataConfig {
  readonly seed: number;
  /** Depth of the policies' trees. */
  readonly n: number;
  /** Whether policies show some of their values by pictures (M) or are text alone (T, the default). */
  readonly variant?: 't' | 'm';
  readonly policies: number;
  /** Training scenes of each policy; the first `reasonedPerPolicy` of them come with reasoning. */
  readonly trainPerPolicy: number;
  readonly reasonedPerPolicy: number;
  /** Unseen questions in all. */
  readonly testSize: number;
}

/** A run of all stages on ClevrPolicy with a base that knows its words. Learning rates and steps are the demo's where not given. */
export interface RunConfig extends DataConfig {
  readonly vmCpt: StageConfig;
  readonly sft: StageConfig & { readonly r: number; readonly loraAlpha: number };
  readonly rl: RlConfig;
  /** The RL arms, all from the weights after SFT and with equally many rollouts. */
  readonly arms: readonly Algorithm[];
  /** Steps between two checkpoints. */
  readonly saveSteps: number;
}

export interface StageConfig {
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
}

export interface RlConfig {
  readonly steps: number;
  readonly learningRate: number;
  readonly promptsPerStep: number;
  /** Completions of each prompt; PolicyRollout makes half of them policy-aware. */
  readonly rollouts: number;
  readonly temperature: number;
  readonly maxNewTokens: number;
}

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
  rl: { steps: 140, learningRate: 7e-4, promptsPerStep: 16, rollouts: 8, temperature: 1, maxNewTokens: 26 },
  arms: ['grpo', 'poro-grpo'],
  saveSteps: 20,
};

/** Settings over the demo's; of a stage only those that differ. */
export type RunOverrides = Partial<Omit<RunConfig, 'vmCpt' | 'sft' | 'rl'>> & { readonly [Stage in 'vmCpt' | 'sft' | 'rl']?: Partial<RunConfig[Stage]> };

/** Checks a config and fills in the demo's values. Throws `invalid-option` naming the field. */
export function resolveConfig(options: RunOverrides = {}): RunConfig {
  const unknown = Object.keys(options).find((k) => !(k in DEMO_CONFIG));
  if (unknown !== undefined) throw new PipelineError('invalid-option', unknown, 'is not an option of a run.', `Known: ${Object.keys(DEMO_CONFIG).join(', ')}.`);
  const { vmCpt, sft, rl } = DEMO_CONFIG;
  const config = { ...DEMO_CONFIG, ...options, vmCpt: { ...vmCpt, ...options.vmCpt }, sft: { ...sft, ...options.sft }, rl: { ...rl, ...options.rl } };
  const integer = checkStages(config);
  integer('n', config.n, 1, 6);
  if (config.variant !== 't' && config.variant !== 'm') throw new PipelineError('invalid-option', 'variant', `is ${String(config.variant)}.`, 'Give t or m.');
  integer('policies', config.policies, 1, 100);
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

/** Checks what every run has; returns the check of a whole number for the rest. Throws `invalid-option` naming the field. */
export function checkStages(config: StageSettings): (name: string, value: number, min: number, max?: number) => void {
  const integer = (name: string, value: number, min: number, max = 1e9) => {
    if (!Number.isInteger(value) || value < min || value > max) throw new PipelineError('invalid-option', name, `is ${value}.`, `Give a whole number from ${min} to ${max}.`);
  };
  integer('seed', config.seed, 0, 2 ** 32 - 1);
  integer('saveSteps', config.saveSteps, 1);
  for (const [name, stage] of [['vmCpt', config.vmCpt], ['sft', config.sft]] as const) {
    integer(`${name}.steps`, stage.steps, 0);
    integer(`${name}.batchSize`, stage.batchSize, 1);
    positive(`${name}.learningRate`, stage.learningRate);
  }
  integer('rl.steps', config.rl.steps, 0);
  integer('rl.promptsPerStep', config.rl.promptsPerStep, 1);
  integer('rl.rollouts', config.rl.rollouts, 2);
  if (config.rl.rollouts % 2 !== 0) throw new PipelineError('invalid-option', 'rl.rollouts', `is ${config.rl.rollouts}.`, 'Give an even number: half of them see the policy.');
  integer('rl.maxNewTokens', config.rl.maxNewTokens, 1);
  positive('rl.learningRate', config.rl.learningRate);
  positive('rl.temperature', config.rl.temperature);
  const arm = config.arms.find((a, i) => !ALGORITHMS.includes(a) || config.arms.indexOf(a) !== i);
  if (arm !== undefined) throw new PipelineError('invalid-option', 'arms', `holds ${String(arm)}${ALGORITHMS.includes(arm) ? ' twice' : ''}.`, `Give each of ${ALGORITHMS.join(', ')} at most once.`);
  return integer;
}
