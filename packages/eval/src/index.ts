export { EvalError } from './errors.ts';
export { type Answerer, evaluate, majorityAccuracy, type Outcome } from './evaluate.ts';
export { renderReport } from './html.ts';
export { mcnemar, proportion, type Proportion } from './interval.ts';
export { type Curve, findings, type ReportExample, type RlReport, type RunReport, type SampledCompletion, type StageReport } from './report.ts';
export { type PairedTest, pairedTest, type Verdict, verdict } from './paired.ts';
export { type CompactReferral, compactReferral } from './referral.ts';
export { type Cell, sliceAccuracy, unseenCells } from './slices.ts';
export { type MeanInterval, meanInterval, studentQuantile } from './student.ts';
