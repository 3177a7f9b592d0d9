/** @file Settings of a run on one's own policy. */
import { checkObjects, checkStages, integer, positive, type RlConfig, type StageConfig } from '../config.ts';
import { PipelineError } from '../errors.ts';
import type { StageSettings } from '../stages.ts';

/** What a model that was never trained on the form is told; the paper's wording is not known. */
export const FORMAT_INSTRUCTION = 'Think first inside <think> and </think>, then give the final answer inside \\boxed{}.';

export interface InternaliseConfig extends StageSettings {
  /**
   * `lora`: one adapter on the frozen checkpoint through all stages, which is what is shipped. `full`: all parameters of the
   * language model in VM-CPT and RL (the paper: of the vision tower too), and an adapter in SFT that is merged after.
   */
  readonly tune: 'lora' | 'full';
  /** PEFT's terms; `targetModules` is a pattern, `all-linear`, or empty for the text projections. */
  readonly lora: { readonly r: number; readonly loraAlpha: number; readonly targetModules: string };
  readonly vmCpt: StageConfig;
  readonly sft: StageConfig;
  readonly rl: RlConfig;
  /** Bits of the frozen weights on the device (`lora` only): 32, 16, 8 or 4. */
  readonly bits: number;
  /** The system message of every prompt; empty for none. */
  readonly system: string;
  /** Test questions asked after each stage; 0: all. */
  readonly testSize: number;
  /** Most tokens in memory at once when training. */
  readonly maxTokens: number;
  /** Most completions sampled at once. */
  readonly maxRollouts: number;
}

export const INTERNALISE_CONFIG: InternaliseConfig = {
  seed: 1,
  tune: 'lora',
  lora: { r: 16, loraAlpha: 32, targetModules: '' },
  bits: 32,
  system: FORMAT_INSTRUCTION,
  vmCpt: { steps: 100, batchSize: 8, learningRate: 1e-4 },
  sft: { steps: 100, batchSize: 8, learningRate: 1e-4 },
  rl: { steps: 200, learningRate: 5e-5, promptsPerStep: 8, rollouts: 8, temperature: 1, maxNewTokens: 256 },
  arms: ['poro-grpo'],
  testSize: 200,
  maxTokens: 8192,
  maxRollouts: 256,
  saveSteps: 20,
};

/** Checks settings and fills in the defaults. Throws `invalid-option` naming the field. */
export function resolveInternaliseConfig(options: Partial<InternaliseConfig> = {}): InternaliseConfig {
  const unknown = Object.keys(options).find((k) => !(k in INTERNALISE_CONFIG));
  if (unknown !== undefined) throw new PipelineError('invalid-option', unknown, 'is not an option of a run on your own policy.', `Known: ${Object.keys(INTERNALISE_CONFIG).join(', ')}.`);
  checkObjects({ vmCpt: options.vmCpt, sft: options.sft, rl: options.rl, lora: options.lora });
  const config = { ...INTERNALISE_CONFIG, ...options };
  checkStages(config);
  integer('testSize', config.testSize, 0);
  integer('maxTokens', config.maxTokens, 16);
  integer('maxRollouts', config.maxRollouts, 1);
  integer('lora.r', config.lora.r, 1, 65_536);
  positive('lora.loraAlpha', config.lora.loraAlpha);
  try {
    new RegExp(config.lora.targetModules);
  } catch (cause) {
    throw new PipelineError('invalid-option', 'lora.targetModules', `is ${JSON.stringify(config.lora.targetModules)}, no regular expression.`, 'Give a pattern of module names, all-linear, or nothing.', { cause });
  }
  if (!['lora', 'full'].includes(config.tune)) throw new PipelineError('invalid-option', 'tune', `is ${String(config.tune)}.`, 'Give lora or full.');
  checkReference(config.tune, config.rl);
  if (![4, 8, 16, 32].includes(config.bits)) throw new PipelineError('invalid-option', 'bits', `is ${config.bits}.`, 'Give 32, 16, 8 or 4.');
  if (config.tune === 'full' && config.bits !== 32) throw new PipelineError('invalid-option', 'bits', `is ${config.bits}, and full training changes the weights themselves.`, 'Set bits to 32, or tune to lora.');
  return config;
}

/** Of a checkpoint no second copy is held. Throws `invalid-option`. */
export function checkReference(tune: InternaliseConfig['tune'] | undefined, { beta = 0 }: Pick<RlConfig, 'beta'>): void {
  if (tune === 'full' && beta > 0) throw new PipelineError('invalid-option', 'rl.beta', `is ${beta}, and full training has no room for a second model to keep near to.`, 'Set tune to lora (the checkpoint without its adapter is the reference), or rl.beta to 0.');
}
