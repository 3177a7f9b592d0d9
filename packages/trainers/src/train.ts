import type { VisionLanguageModel } from '@trimpi/model';
import type { CheckpointInfo, Checkpoints } from './checkpoints.ts';
import { checkEarlyStopping, EARLY_STOPPING_START, type EarlyStoppingOptions, type EarlyStoppingState, watchMetric } from './early-stopping.ts';
import { TrainerError } from './errors.ts';
import type { MetricSink, Metrics } from './metrics/sink.ts';
import type { Trainer } from './state.ts';

export interface TrainOptions {
  readonly model: VisionLanguageModel;
  readonly trainer: Trainer;
  /** Steps in all, those of earlier sessions included. */
  readonly steps: number;
  /** Sinks, or plain functions. */
  readonly metrics?: readonly (MetricSink | ((metrics: Metrics) => void | Promise<void>))[];
  readonly checkpoints?: Checkpoints;
  /** Steps between two checkpoints; one is also written at the end, and when stopped. Default 100. */
  readonly saveSteps?: number;
  readonly earlyStopping?: EarlyStoppingOptions;
  /** Stops after the current step, with everything saved. */
  readonly signal?: AbortSignal;
  /** The caller's own data in checkpoints (any JSON): what to save, and what to do with what was saved. */
  readonly extra?: { save(): unknown; restore(saved: unknown): void };
  /** Whether a checkpoint that is found belongs to this training. Default: yes. */
  readonly accept?: (extra: unknown) => boolean;
  /** Called once, when it is known where the training begins. */
  readonly onBegin?: (step: number) => void;
}

export type TrainEnd = 'complete' | 'early' | 'aborted';

interface Saved {
  readonly stopping: EarlyStoppingState;
  readonly own: unknown;
}

/** What a checkpoint holds besides the training; one of `Checkpoints.save` alone holds the caller's data only. */
function savedOf(extra: unknown): Saved {
  return typeof extra === 'object' && extra !== null && 'stopping' in extra && 'own' in extra ? (extra as Saved) : { stopping: EARLY_STOPPING_START, own: extra };
}

/**
 * Runs a trainer to its end: goes on from the newest checkpoint, hands metrics to sinks, saves, and stops early when a
 * metric no longer improves. A process that is killed loses the steps since the last checkpoint and ends with the same
 * weights, bit for bit (on one adapter). Returns why it ended.
 */
export async function train(options: TrainOptions): Promise<TrainEnd> {
  const { model, trainer, steps, checkpoints, saveSteps = 100, earlyStopping } = options;
  if (!Number.isInteger(saveSteps) || saveSteps < 1) throw new TrainerError('invalid-option', 'saveSteps', `is ${saveSteps}.`, 'Give a positive number of steps.');
  if (!Number.isInteger(steps) || steps < 0) throw new TrainerError('invalid-option', 'steps', `is ${steps}.`, 'Give a whole number of steps.');
  if (earlyStopping !== undefined) checkEarlyStopping(earlyStopping);
  const sinks = (options.metrics ?? []).map((sink): MetricSink => (typeof sink === 'function' ? { write: sink } : sink));
  const found = await checkpoints?.restore(model, trainer, ({ extra }: CheckpointInfo) => options.accept?.(savedOf(extra).own) ?? true);
  let stopping = EARLY_STOPPING_START;
  if (found !== null && found !== undefined) {
    const saved = savedOf(found.extra);
    stopping = saved.stopping;
    if (found.extra !== null) options.extra?.restore(saved.own);
  }
  for (const sink of sinks) await sink.begin?.(trainer.step);
  options.onBegin?.(trainer.step);

  let savedAt = trainer.step;
  const save = async () => {
    for (const sink of sinks) await sink.flush?.();
    if (trainer.step > savedAt || savedAt === 0) await checkpoints?.save(model, trainer, { stopping, own: options.extra?.save() ?? null } satisfies Saved);
    savedAt = trainer.step;
  };
  // Updates of this session that brought nothing to stop by; none of them counts when an earlier session had it.
  let without = stopping.best === null ? 0 : -Infinity;
  const out = () => earlyStopping !== undefined && stopping.waited >= earlyStopping.patience;
  while (trainer.step < steps && !trainer.finished && !out()) {
    if (options.signal?.aborted === true) {
      await save();
      return 'aborted';
    }
    const { updates } = trainer.state();
    const metrics = await trainer.next();
    for (const sink of sinks) await sink.write(metrics);
    if (earlyStopping !== undefined) {
      stopping = watchMetric(stopping, metrics, earlyStopping);
      if (earlyStopping.metric in metrics) without = -Infinity;
      else if (trainer.state().updates > updates && ++without >= earlyStopping.patience) {
        await save();
        throw new TrainerError('invalid-option', 'earlyStopping.metric', `${earlyStopping.metric} is in none of the first ${without} updates; ${Object.keys(metrics).join(', ')} are.`, `Name one of these.${checkpoints === undefined ? '' : ' The training is saved up to here.'}`);
      }
    }
    if (trainer.step % saveSteps === 0) await save();
  }
  await save();
  return out() ? 'early' : 'complete';
}
