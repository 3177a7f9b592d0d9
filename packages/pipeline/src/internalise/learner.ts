/** @file A checkpoint made ready to be trained: weights on the device in few bits, and an adapter that is trained throughout. */
import type { RgbImage } from '@trimpi/datasets';
import { type DeviceLimits, estimate, type LoraConfig, loraConfig, type ModelFiles, openCheckpoint, type Processor, requireFit, VisionLanguageModel } from '@trimpi/model';
import type { Engine } from '@trimpi/runtime';
import { PipelineError } from '../errors.ts';
import type { ChatSizes } from './chats.ts';
import type { InternaliseConfig } from './config.ts';
import { fits, KEPT_BYTES } from './pictures.ts';

export interface LearnerOptions {
  readonly engine: Engine;
  /** Of the device: what does not fit is refused before anything is loaded. */
  readonly limits: DeviceLimits | undefined;
  readonly base: ModelFiles;
  readonly processor: Processor;
  readonly config: Pick<InternaliseConfig, 'tune' | 'lora' | 'bits' | 'rl' | 'maxTokens' | 'maxRollouts' | 'seed'>;
  /** Of all prompts and rows. */
  readonly sizes: ChatSizes;
  readonly pictures: readonly RgbImage[];
}

export interface Learner {
  readonly model: VisionLanguageModel;
  /** Trained through all stages; undefined where all parameters are. */
  readonly adapter: string | undefined;
  /** Whether what is trained changes features of images. */
  readonly trainsVision: boolean;
  /** As it was opened: the checkpoint's weights, a fresh adapter. */
  reset(): Promise<void>;
}

/** The adapter that is trained through all stages. */
const ADAPTER = 'policy';

/** How a learner fits the device. */
export interface LearnerPlan {
  readonly peft: LoraConfig;
  /** Whether activations have to be computed twice. */
  readonly checkpointing: boolean;
}

/** Loads nothing. @throws ModelError `does-not-fit`. */
export async function planLearner(options: LearnerOptions): Promise<LearnerPlan> {
  const { limits, config: { lora: { targetModules, ...lora } } } = options;
  const peft = loraConfig({ ...lora, ...(targetModules === '' ? {} : { targetModules }) });
  return { peft, checkpointing: limits === undefined ? false : await planned(options, peft, limits) };
}

export async function openLearner({ engine, base, processor: { config: architecture }, config: { tune, bits, rl, seed }, sizes }: LearnerOptions, { peft, checkpointing }: LearnerPlan): Promise<Learner> {
  const quantise = bits === 32 ? {} : { quantise: { bits: bits as 4 | 8 | 16 } };
  const model = new VisionLanguageModel(engine, architecture, { maxPositions: Math.max(sizes.row, sizes.prompt + rl.maxNewTokens), ...quantise, checkpointing });
  const load = async () => model.load(await openCheckpoint(base));
  try {
    await load();
    if (tune === 'full') return { model, adapter: undefined, trainsVision: false, reset: load };
    const add = () => model.addAdapter(ADAPTER, peft, seed);
    const trainsVision = add().targets.some((t) => t.name.startsWith('visual.'));
    const reset = () => {
      model.removeAdapter(ADAPTER);
      add();
      return Promise.resolve();
    };
    return { model, adapter: ADAPTER, trainsVision, reset };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** Whether activations have to be computed twice to fit. */
async function planned({ processor, config: { tune, bits, maxTokens, maxRollouts, rl }, sizes, pictures }: LearnerOptions, lora: LoraConfig, limits: DeviceLimits): Promise<boolean> {
  // Pictures whose features are not kept go through the tower with their batch.
  const image = sizes.image === undefined || fits(processor, pictures, false, KEPT_BYTES) ? sizes.image : ([1, Math.ceil(maxTokens * sizes.patchesPerToken)] as const);
  const found = await estimate(processor.config, {
    lora: tune === 'lora' ? lora : false,
    ...(bits === 32 ? {} : { quantisation: { bits: bits as 4 | 8 | 16 } }),
    tokens: maxTokens,
    ...(image === undefined ? {} : { image }),
    rollouts: { prompts: Math.min(rl.promptsPerStep, Math.max(1, Math.floor(maxRollouts / rl.rollouts))), perPrompt: rl.rollouts, promptTokens: sizes.prompt, maxNewTokens: rl.maxNewTokens },
    limits,
  });
  requireFit(found);
  return found.checkpointing;
}

/** @throws PipelineError `invalid-option` naming what is too long. */
export function checkSizes(sizes: ChatSizes, { maxTokens, rl: { maxNewTokens } }: Pick<InternaliseConfig, 'maxTokens' | 'rl'>, maxPositions: number): void {
  const bad = (argument: string, message: string, remedy: string): never => {
    throw new PipelineError('invalid-option', argument, message, remedy);
  };
  if (sizes.prompt + maxNewTokens > maxPositions) bad('rl.maxNewTokens', `is ${maxNewTokens} behind a prompt of ${sizes.prompt} tokens with the policy, and the model has ${maxPositions} positions.`, 'Shorten the policy, shrink its pictures, or lower maxNewTokens.');
  if (sizes.row > maxPositions) bad('examples', `holds a row of ${sizes.row} tokens with the policy, and the model has ${maxPositions} positions.`, 'Shorten the policy or its reasoning, or shrink the pictures.');
  if (sizes.row > maxTokens) bad('maxTokens', `is ${maxTokens}, and the longest row has ${sizes.row} tokens with the policy.`, 'Raise it, or shorten the policy.');
}
