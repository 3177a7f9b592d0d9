export { EvalError } from './errors.ts';
export { type Answerer, evaluate, majorityAccuracy, type Outcome } from './evaluate.ts';
export { renderReport } from './html.ts';
export { mcnemar, proportion, type Proportion } from './interval.ts';
export { type Curve, findings, type ReportExample, type RunReport, type StageReport } from './report.ts';
