export { TrainerError, type TrainerErrorCode } from './errors.ts';
export { hyperAt, type OptimizerOptions, readTrainingState, writeTrainingState } from './optimizer.ts';
export { examplesOfStep } from './order.ts';
export { type RewardFunction, type RlExample, type RlMetrics, type RlOptions, RlTrainer, type Rollout } from './rl.ts';
export { learningRateAt, type ScheduleOptions } from './schedule.ts';
export { type SupervisedMetrics, type SupervisedOptions, type SupervisedRow, SupervisedTrainer } from './supervised.ts';
