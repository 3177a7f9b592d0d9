/** @file The supervised stages: VM-CPT on all parameters, and SFT (with reasoning or the bare answer) on an adapter. */
import { type Adapter, loraConfig } from '@trimpi/model';
import { SupervisedTrainer } from '@trimpi/trainers';
import type { StageConfig } from '../config.ts';
import type { TrainContext } from './context.ts';
import { type Trained, trainLoop } from './loop.ts';

export type SupervisedKind = 'vm-cpt' | 'cot-sft' | 'direct-sft';

export interface SupervisedStage {
  /** Names its files. */
  readonly stage: string;
  readonly title: string;
  readonly kind: SupervisedKind;
  /** Rank and alpha are needed for SFT. */
  readonly settings: StageConfig & { readonly r?: number; readonly loraAlpha?: number };
}

/** Trains a stage; the model then holds its weights, adapter merged. Returns the adapter of SFT. */
export async function trainSupervised(context: TrainContext, { stage, title, kind, settings }: SupervisedStage): Promise<Trained & { readonly adapter?: Adapter }> {
  const { model, data, writer, seed } = context;
  const sft = kind !== 'vm-cpt';
  if (sft) model.addAdapter('sft', loraConfig({ r: settings.r!, loraAlpha: settings.loraAlpha! }), seed);
  try {
    model.setTrainable(sft ? { adapter: 'sft' } : 'text');
    const row = { 'vm-cpt': writer.vmCptRow, 'cot-sft': writer.sftRow, 'direct-sft': writer.directRow }[kind].bind(writer);
    const trainer = new SupervisedTrainer(model, {
      // The paper's direct SFT sees every training answer, without reasoning; the others see the reasoned ones.
      rows: (kind === 'direct-sft' ? data.train : data.reasoned).map(row),
      batchSize: settings.batchSize,
      lossMean: sft ? 'token' : 'sequence',
      learningRate: settings.learningRate,
      steps: settings.steps,
      warmupSteps: Math.min(5, settings.steps),
      lrSchedulerType: 'linear',
      seed,
      ...(sft ? { adapter: 'sft' } : {}),
    });
    const trained = await trainLoop(context, { stage, title, trainer, steps: settings.steps, describe: (m) => ({ tokens: m['trained_tokens']!, line: `loss ${m['loss']!.toFixed(3)}` }) });
    if (!sft) return trained;
    const adapter = await model.adapter('sft').toAdapter();
    await model.merge('sft');
    return { ...trained, adapter };
  } finally {
    model.setTrainable();
    if (sft) model.removeAdapter('sft');
  }
}
