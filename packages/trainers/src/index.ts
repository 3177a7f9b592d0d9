export { TrainerError, type TrainerErrorCode } from './errors.ts';
export { type SupervisedMetrics, type SupervisedOptions, type SupervisedRow, SupervisedTrainer } from './supervised.ts';
export { RlTrainer } from './rl/trainer.ts';
export type { RewardColumns, RewardFunction, RlExample, RlMetrics, RlOptions, Rollout, StatefulObjective } from './rl/types.ts';

export { hyperAt, type OptimizerOptions, readTrainingState, writeTrainingState } from './optimizer.ts';
export { learningRateAt, LR_SCHEDULER_TYPES, type ScheduleOptions } from './schedule.ts';
export { examplesAt, examplesOfStep } from './order.ts';
export { microBatches } from './micro-batches.ts';
export type { Trainer, TrainerState } from './state.ts';

export { train, type TrainEnd, type TrainOptions } from './train.ts';
export { type CheckpointFiles, type CheckpointInfo, type CheckpointOptions, Checkpoints } from './checkpoints.ts';
export { EARLY_STOPPING_START, type EarlyStoppingOptions, type EarlyStoppingState, watchMetric } from './early-stopping.ts';
export type { MetricSink, Metrics } from './metrics/sink.ts';
export { JsonLines } from './metrics/jsonl.ts';
export { eventFileName, fileVersionRecord, restartRecord, type ScalarEvent, scalarRecord } from './metrics/tensorboard.ts';
