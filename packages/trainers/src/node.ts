/** @file Checkpoints and metrics in folders of Node. */
export { checkpointFolder } from './node/folder.ts';
export { jsonlFile, tensorboardFolder } from './node/metrics.ts';
