export { pretrain, type PretrainEvent, type PretrainOptions, type PretrainRecipe, type PretrainResult, TINY_BASE_RECIPE } from './base/pretrain.ts';
export { WordCodec } from './base/words.ts';
export { type Algorithm, ALGORITHMS, type DataConfig, DEMO_CONFIG, resolveConfig, type RlConfig, type RunConfig, type StageConfig } from './config.ts';
export { makeRunData, PromptWriter, type RunData, runDataset, type RunItem, scoreItem } from './data.ts';
export { PipelineError, type PipelineErrorCode } from './errors.ts';
export { run, type RunEvent, type RunOptions, type StageName } from './run.ts';
export { memoryStorage, type RunStorage } from './storage.ts';

export { type ReproduceEvent, type ReproduceOptions, reproduceRows } from './reproduce/reproduce.ts';
export { type Baselines, type Ordering, type ReproduceResults, type RowResult, type RowSummary, summariseRows, testOrderings } from './reproduce/results.ts';
export { resultsPage } from './reproduce/page.ts';
export { PAPER, rlOf, ROWS, type RowName, rowTitle, type Start, STARTS } from './reproduce/rows.ts';
export { type ReproduceSettings, type Scale, scaleSettings } from './reproduce/settings.ts';
export { type Measured, type SuiteReport } from './evaluation/suite.ts';
export { type CanonicalReport, measureCanonical } from './evaluation/canonical.ts';
