/** @file The supervised stages: VM-CPT, and SFT with reasoning or the bare answer. */
import { type Adapter, loraConfig } from '@trimpi/model';
import { SupervisedTrainer } from '@trimpi/trainers';
import type { StageConfig } from '../config.ts';
import type { TrainContext } from './context.ts';
import { type Trained, trainLoop } from './loop.ts';

/** `cpt` is VM-CPT without its mask: a loss on visual tokens too, the ablation of "visually masked". */
export type SupervisedKind = 'vm-cpt' | 'cpt' | 'cot-sft' | 'direct-sft';

/** Continued pre-training, on rows with the policy. */
export function isPretraining(kind: SupervisedKind): kind is 'vm-cpt' | 'cpt' {
  return kind === 'vm-cpt' || kind === 'cpt';
}

export interface SupervisedStage {
  /** Names its files. */
  readonly stage: string;
  readonly title: string;
  readonly kind: SupervisedKind;
  /** Rank and alpha are needed for SFT where no adapter is trained throughout. */
  readonly settings: StageConfig & { readonly r?: number; readonly loraAlpha?: number };
}

/** Trains a stage; the model then holds its weights, the adapter of SFT merged unless it is that of the run. Returns the adapter of SFT. */
export async function trainSupervised(context: TrainContext, { stage, title, kind, settings }: SupervisedStage): Promise<Trained & { readonly adapter?: Adapter }> {
  const { model, task, seed, maxTokens } = context;
  const own = context.adapter === undefined && !isPretraining(kind) ? 'sft' : undefined;
  const adapter = own ?? context.adapter;
  if (own !== undefined) model.addAdapter(own, loraConfig({ r: settings.r!, loraAlpha: settings.loraAlpha! }), seed);
  try {
    model.setTrainable(adapter === undefined ? 'text' : { adapter });
    const trainer = new SupervisedTrainer(model, {
      // The paper's direct SFT sees every training answer, without reasoning; the others see the reasoned ones.
      rows: (kind === 'direct-sft' ? task.train : task.reasoned).map((item) => item.row(kind)),
      batchSize: settings.batchSize,
      lossMean: isPretraining(kind) ? 'sequence' : 'token',
      learningRate: settings.learningRate,
      steps: settings.steps,
      warmupSteps: Math.min(5, settings.steps),
      lrSchedulerType: 'linear',
      seed,
      ...(adapter === undefined ? {} : { adapter }),
      ...(maxTokens === undefined ? {} : { maxTokens }),
    });
    const trained = await trainLoop(context, { stage, title, trainer, steps: settings.steps, describe: (m) => ({ tokens: m['trained_tokens']!, line: `loss ${m['loss']!.toFixed(3)}` }) });
    if (own === undefined) return trained;
    const merged = await model.adapter(own).toAdapter();
    await model.merge(own);
    return { ...trained, adapter: merged };
  } finally {
    model.setTrainable();
    if (own !== undefined) model.removeAdapter(own);
  }
}
