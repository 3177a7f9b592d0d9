/** @file Steps of a stage with checkpoints, metrics in files, progress and interruption. */
import { Checkpoints, eventFileName, fileVersionRecord, JsonLines, type Metrics, type MetricSink, type OptimizerOptions, scalarRecord, type ScheduleOptions, train, type Trainer, TrainerError } from '@trimpi/trainers';
import type { TrainingOptions } from '../config.ts';
import { PipelineError } from '../errors.ts';
import { interrupt, type TrainContext } from './context.ts';

/** What is saved besides the trainer's own state. */
interface Progress {
  readonly stage: string;
  readonly seconds: number;
  readonly tokens: number;
}

export interface LoopOptions {
  /** Names its files. */
  readonly stage: string;
  readonly title: string;
  readonly trainer: Trainer;
  readonly settings: TrainingOptions & { readonly steps: number; readonly learningRate: number };
  /** Examples after which the trainer is finished, if before its steps. */
  readonly maxPrompts?: number;
  /** What should get better, for a stage that may end early. */
  readonly metric: 'loss' | 'reward' | 'sampled_reward';
  /** Tokens that went through the model in a step, and the step in words. */
  readonly describe: (metrics: Metrics) => { readonly tokens: number; readonly line: string };
  /** Lines that are kept beside the metrics (sampled completions). */
  readonly lines?: MetricSink;
}

export interface Trained {
  readonly seconds: number;
  readonly tokens: number;
  readonly metrics: readonly Metrics[];
}

/** The settings of a stage that every trainer takes, with what holds where one is left out; `warmup` are the steps of a warm-up that is. */
export function trainerOptions({ steps, learningRate, warmupSteps, lrSchedulerType, weightDecay, maxGradNorm, onNonFinite }: LoopOptions['settings'], warmup = 5): ScheduleOptions & OptimizerOptions {
  return {
    steps, learningRate,
    warmupSteps: warmupSteps ?? Math.min(warmup, steps),
    lrSchedulerType: lrSchedulerType ?? 'linear',
    ...(weightDecay === undefined ? {} : { weightDecay }),
    ...(maxGradNorm === undefined ? {} : { maxGradNorm }),
    ...(onNonFinite === undefined ? {} : { onNonFinite }),
  };
}

/** Trains to the end, from the last checkpoint of this stage if there is one. Rejects with `interrupted` after the signal. */
export async function trainLoop(context: TrainContext, { stage, title, trainer, settings, maxPrompts, metric, describe, lines }: LoopOptions): Promise<Trained> {
  const { model, storage, signal } = context;
  const { steps, earlyStoppingPatience: patience, earlyStoppingThreshold: minDelta = 0 } = settings;
  let seconds = 0;
  let tokens = 0;
  let last = 0;
  const rows = new JsonLines(storage, `metrics-${stage}.jsonl`);
  // With each checkpoint, so that a training can be watched.
  const events: MetricSink = { write: () => undefined, flush: () => storage.write(`tensorboard/${stage}/${eventFileName(0, 'trimpi')}`, eventFile(rows.rows())) };
  const checkpoints = new Checkpoints(storage, { onDamaged: (file, reason) => context.onNote(`${file} is damaged (${reason}); going on from the checkpoint before it.`) });
  try {
    const end = await train({
      model, trainer, steps, checkpoints, saveSteps: context.saveSteps,
      ...(signal === undefined ? {} : { signal }),
      ...(patience === undefined ? {} : { earlyStopping: { metric, patience, minDelta, greaterIsBetter: metric !== 'loss' } }),
      accept: (extra) => (extra as Progress | null)?.stage === stage,
      extra: {
        save: (): Progress => ({ stage, seconds, tokens }),
        restore: (saved) => ({ seconds, tokens } = saved as Progress),
      },
      onBegin(step) {
        last = performance.now();
        context.onBegin(step);
      },
      metrics: [
        rows,
        events,
        ...(lines === undefined ? [] : [lines]),
        (metrics) => {
          const now = performance.now();
          seconds += (now - last) / 1000;
          last = now;
          const { tokens: own, line } = describe(metrics);
          tokens += own;
          const { step, position } = trainer.state();
          const done = Math.max(step / steps, maxPrompts === undefined ? 0 : position / maxPrompts);
          context.onStep({ step, steps, of: Math.round(step / done), value: line, metrics, tokensPerSecond: tokens / seconds, secondsLeft: seconds / done - seconds });
        },
      ],
    });
    if (end === 'early') context.onNote(`${title} ends after ${trainer.step} of ${steps} steps: ${patience} without a better ${metric === 'loss' ? 'loss' : 'reward'}.`);
    if (end === 'aborted') interrupt(`${title}, step ${trainer.step}`, storage);
  } catch (error) {
    if (error instanceof TrainerError && error.code === 'invalid-checkpoint') throw new PipelineError('invalid-checkpoint', error.argument, error.message, 'The other files of the run stay usable.', { cause: error });
    if (error instanceof TrainerError && error.code === 'diverged') throw new PipelineError('diverged', `${title}, ${error.argument}`, 'the loss, the gradient or a log-probability is no longer finite; no weight was changed by it.', 'Begin again in another folder with a lower learningRate of this stage, or with its onNonFinite: skip.', { cause: error });
    throw error;
  }
  return { seconds, tokens, metrics: rows.rows() };
}

/** All steps as an event file for TensorBoard. Time is what the steps took: the file is a function of the run. */
function eventFile(metrics: readonly Metrics[]): Uint8Array {
  let wallTime = 0;
  const parts = [fileVersionRecord(0), ...metrics.map(({ step, ...scalars }) => scalarRecord({ wallTime: (wallTime += scalars['time/step'] ?? 0), step, scalars }))];
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
