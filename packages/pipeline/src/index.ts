export { WordCodec } from './base/words.ts';
export { type DataConfig, DEMO_CONFIG, resolveConfig, type RlConfig, type RunConfig, type StageConfig } from './config.ts';
export { makeRunData, PromptWriter, type RunData, runDataset, type RunItem, scoreItem } from './data.ts';
export { PipelineError, type PipelineErrorCode } from './errors.ts';
export { run, type RunEvent, type RunOptions, type StageName } from './run.ts';
export { memoryStorage, type RunStorage } from './storage.ts';
