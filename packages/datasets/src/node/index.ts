// Public API: folders on disk (Node only)
export { openFolder, readPolicyFolder, loadScorer, readDatasetFile, exportDataset, type ExportOptions } from './own.ts';
export { writeClevrPolicy, type WriteClevrPolicyOptions } from './writeclevr.ts';
export { writeGtaPolicy, type WriteGtaPolicyOptions } from './writegta.ts';
export { checkDataset, readExamples, showExamples, type CheckReport, type StoredExample } from './check.ts';
export { folderObstacle, PartialFolder } from './partial.ts';
export type { WriteProgress, WriteReport } from './folder.ts';
