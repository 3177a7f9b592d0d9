import { type Algorithm, checkObjects, checkStage, checkStages, type DataConfig, DEMO_CONFIG, integer, positive, type RlConfig, type StageConfig } from '../config.ts';
import { PipelineError } from '../errors.ts';
import { checkReference, FORMAT_INSTRUCTION, type InternaliseConfig, resolveInternaliseConfig } from '../internalise/config.ts';
import type { Setting } from './rows.ts';

export const SCALES = ['tiny', 'small', 'full'] as const;
export type Scale = (typeof SCALES)[number];

/** Settings of all rows of a table, the same for each. */
export interface ReproduceSettings extends Omit<DataConfig, 'seed' | 'n' | 'variant'> {
  readonly vmCpt: StageConfig;
  readonly sft: StageConfig & { readonly r: number; readonly loraAlpha: number };
  readonly directSft: StageConfig & { readonly r: number; readonly loraAlpha: number };
  readonly rl: RlConfig;
  /** Items of each kind of override, of other policies, and scenes of existence questions. */
  readonly suiteSize: number;
  readonly saveSteps: number;
  /** Of scale `full`: how a real checkpoint is trained, and the size of ClevrPolicy's pictures. */
  readonly checkpoint?: CheckpointSettings;
}

type Stages = 'vmCpt' | 'sft' | 'directSft' | 'rl';

/** Over the settings of a scale; of a stage only what differs. */
export type ReproduceOverrides = Partial<Omit<ReproduceSettings, Stages>> & { readonly [Stage in Stages]?: Partial<ReproduceSettings[Stage]> };

export interface CheckpointSettings extends Pick<InternaliseConfig, 'tune' | 'lora' | 'bits' | 'system' | 'maxTokens' | 'maxRollouts'> {
  readonly width: number;
  readonly height: number;
}

const CHECKPOINT: Omit<CheckpointSettings, 'bits'> = { tune: 'lora', lora: { r: 8, loraAlpha: 16, targetModules: '' }, system: FORMAT_INSTRUCTION, maxTokens: 8192, maxRollouts: 256, width: 480, height: 320 };

/**
 * `tiny` is for two CPU cores: a row in some minutes. `small` is for a GPU: more policies, questions and steps on a base of ours.
 * `full` is the paper's: its data, steps and batches (table 5) on a checkpoint of Qwen2.5-VL, with one adapter on frozen
 * weights unless `checkpoint` says `tune: 'full'`, as the paper did on eight GPUs.
 * @throws PipelineError `invalid-option` for a scale that is none, for `checkpoint` with another than `full`, and for settings that no run can have.
 */
export function scaleSettings(scale: Scale, { benchmark, n }: Setting, checkpoint?: Partial<CheckpointSettings>): ReproduceSettings {
  if (checkpoint !== undefined && scale !== 'full') throw new PipelineError('invalid-option', 'checkpoint', `is of scale full, and the scale is ${scale}.`, 'Leave it out, or use full.');
  // Reasoning has seven words a condition, and seven around it; a call of GTAPolicy takes 36 words at most.
  const maxNewTokens = benchmark === 'gta' ? 40 : 10 * n + 6;
  const { vmCpt, sft, rl, policies, trainPerPolicy, testSize, saveSteps } = DEMO_CONFIG;
  // GTAPolicy's one policy has 32 cases.
  const reasonedPerPolicy = benchmark === 'gta' ? 12 : DEMO_CONFIG.reasonedPerPolicy;
  const tiny: ReproduceSettings = {
    policies, trainPerPolicy, reasonedPerPolicy, testSize, saveSteps, vmCpt, sft,
    directSft: sft,
    rl: { ...rl, maxNewTokens },
    suiteSize: 100,
  };
  switch (scale) {
    case 'tiny':
      return tiny;
    case 'small':
      return { ...tiny, policies: 8, trainPerPolicy: 200, testSize: 800, suiteSize: 400, vmCpt: { ...vmCpt, steps: 120 }, rl: { ...tiny.rl, steps: 400, promptsPerStep: 32 } };
    case 'full':
      return fullSettings(benchmark === 'gta', { ...CHECKPOINT, bits: checkpoint?.tune === 'full' ? 32 : 16, ...checkpoint });
    default:
      throw new PipelineError('invalid-option', 'scale', `is ${String(scale satisfies never)}.`, `Use one of ${SCALES.join(', ')}.`);
  }
}

/** The paper's table 5. An adapter learns at ten times the rate of full training; five completions of each prompt without the policy, and five with it. */
function fullSettings(gta: boolean, checkpoint: CheckpointSettings): ReproduceSettings {
  const { width, height, ...own } = checkpoint;
  resolveInternaliseConfig(own);
  for (const [name, value] of Object.entries({ width, height })) if (!Number.isInteger(value) || value < 56) throw new PipelineError('invalid-option', `checkpoint.${name}`, `is ${value}.`, 'Give whole pixels, 56 or more.');
  const times = checkpoint.tune === 'lora' ? 10 : 1;
  const { r, loraAlpha } = checkpoint.lora;
  const stage = (steps: number, batchSize: number, learningRate: number) => ({ steps, batchSize, learningRate, r, loraAlpha });
  const sft = gta ? stage(141, 32, 1e-4) : stage(195, 64, 1e-4);
  return {
    ...(gta ? { policies: 1, trainPerPolicy: 451, reasonedPerPolicy: 451, testSize: 106 } : { policies: 10, trainPerPolicy: 2000, reasonedPerPolicy: 250, testSize: 2000 }),
    vmCpt: { steps: gta ? 35 : 98, batchSize: gta ? 64 : 128, learningRate: times * 1e-5 },
    sft,
    directSft: gta ? sft : stage(625, 64, 1e-4),
    rl: { steps: gta ? 50 : 104, promptsPerStep: gta ? 256 : 384, rollouts: 10, learningRate: times * 1e-6, temperature: 1, maxNewTokens: 1024 },
    suiteSize: gta ? 106 : 400,
    saveSteps: 5,
    checkpoint,
  };
}

/**
 * Settings of a scale with others over them, checked for the objectives of the rows.
 * @throws PipelineError `invalid-option` naming the field.
 */
export function reproduceSettings(scale: Scale, setting: Setting, { checkpoint, overrides = {}, algorithms }: { readonly checkpoint?: Partial<CheckpointSettings> | undefined; readonly overrides?: ReproduceOverrides | undefined; readonly algorithms: readonly Algorithm[] }): ReproduceSettings {
  const own = scaleSettings(scale, setting, checkpoint);
  const unknown = Object.keys(overrides).find((key) => !(key in own));
  if (unknown !== undefined) throw new PipelineError('invalid-option', unknown, 'is no setting of a table.', `Known: ${Object.keys(own).filter((key) => key !== 'checkpoint').join(', ')}.`);
  checkObjects({ vmCpt: overrides.vmCpt, sft: overrides.sft, directSft: overrides.directSft, rl: overrides.rl });
  const settings = { ...own, ...overrides, vmCpt: { ...own.vmCpt, ...overrides.vmCpt }, sft: { ...own.sft, ...overrides.sft }, directSft: { ...own.directSft, ...overrides.directSft }, rl: { ...own.rl, ...overrides.rl } };
  checkStages({ ...settings, seed: 0, arms: [...new Set(algorithms)] }, 'rows');
  checkReference(settings.checkpoint?.tune, settings.rl);
  checkStage('directSft', settings.directSft);
  for (const name of ['sft', 'directSft'] as const) {
    integer(`${name}.r`, settings[name].r, 1, 65_536);
    positive(`${name}.loraAlpha`, settings[name].loraAlpha);
  }
  integer('policies', settings.policies, 1, 100);
  integer('trainPerPolicy', settings.trainPerPolicy, 1);
  integer('reasonedPerPolicy', settings.reasonedPerPolicy, 1, settings.trainPerPolicy);
  integer('testSize', settings.testSize, 1);
  integer('suiteSize', settings.suiteSize, 1);
  return settings;
}
