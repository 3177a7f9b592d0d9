import { type DataConfig, DEMO_CONFIG, type RlConfig, type StageConfig } from '../config.ts';
import { PipelineError } from '../errors.ts';
import type { Setting } from './rows.ts';

export type Scale = 'tiny' | 'small' | 'full';

/** Settings of all rows of a table, the same for each. */
export interface ReproduceSettings extends Omit<DataConfig, 'seed' | 'n' | 'variant'> {
  readonly vmCpt: StageConfig;
  readonly sft: StageConfig & { readonly r: number; readonly loraAlpha: number };
  readonly directSft: StageConfig & { readonly r: number; readonly loraAlpha: number };
  readonly rl: RlConfig;
  /** Items of each kind of override, of other policies, and scenes of existence questions. */
  readonly suiteSize: number;
  readonly saveSteps: number;
}

/**
 * `tiny` is for two CPU cores: a row in some minutes. `small` is for a GPU: more policies, questions and steps on the
 * same base. `full` would be the paper's own size, which no code here has been able to try: it is refused.
 */
export function scaleSettings(scale: Scale, { benchmark, n }: Setting): ReproduceSettings {
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
      throw new PipelineError('invalid-option', 'scale', 'full needs Qwen2.5-VL-7B and eight GPUs; it has not been run.', 'Use tiny or small, or train a larger base by the trainers themselves.');
    default:
      throw new PipelineError('invalid-option', 'scale', `is ${String(scale satisfies never)}.`, 'Use tiny or small.');
  }
}
