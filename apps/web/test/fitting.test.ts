import { runDataset } from '@trimpi/pipeline';
import { expect, it } from 'vitest';
import { fitting, testSizeFor } from '../src/worker/fitting.ts';

const config = { seed: 5, n: 4, policies: 2, trainPerPolicy: 4, reasonedPerPolicy: 2, testSize: 4 };

it('finds test scenes for every question and case that can be reached', () => {
  const dataset = runDataset({ ...config, testSize: testSizeFor(2, config) });
  // The test set that was asked for is its beginning.
  expect(dataset.example('test', 3).scene).toEqual(runDataset(config).example('test', 3).scene);
  for (const { id, tree, reachable } of dataset.policies) {
    for (const leaf of tree.leaves) expect(fitting(dataset, id, leaf.id, 2).map((e) => e.leafId), leaf.id).toEqual(reachable.includes(leaf.index) ? [leaf.id, leaf.id] : []);
    for (const node of tree.nodes) for (const { path, policyId } of fitting(dataset, id, node.id, 2)) expect([policyId, path.includes(node.id)]).toEqual([id, true]);
  }
});
