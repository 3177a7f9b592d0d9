/** @file GTAPolicy of a run. By itself, so that a page that shows another dataset does not load it. */
import { compactGta, type CompactGtaDataset } from '@trimpi/datasets';
import { TINY_BASE_SCENES } from './base/scenes.ts';
import type { DataConfig } from './config.ts';

/** The paper's rules of tools, in compact words; as many examples as the other settings have in all their policies. */
export function gtaDataset(config: Omit<DataConfig, 'n' | 'variant'>): CompactGtaDataset {
  return compactGta({
    ...TINY_BASE_SCENES,
    seed: `run ${config.seed}`,
    policy: 'paper',
    train: config.trainPerPolicy * config.policies,
    test: config.testSize,
    reasoned: config.reasonedPerPolicy * config.policies,
  });
}
