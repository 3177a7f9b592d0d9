/** @file Test scenes that take a given way through a policy. */
import type { ClevrPolicyDataset, ClevrPolicyExample } from '@trimpi/datasets';

/** Rounds in which every case of every policy can have come up so often, in a dataset whose trees are `n` deep. */
export function testSizeFor(times: number, { n, policies }: { readonly n: number; readonly policies: number }): number {
  return times * 2 ** n * policies;
}

/**
 * The first `most` test examples that come by a question, or end at a case. Balanced sampling deals all cases that can be
 * reached in turn, so that `most` come up among `testSizeFor(most)` examples.
 */
export function fitting(dataset: ClevrPolicyDataset, policyId: string, nodeId: string, most: number): ClevrPolicyExample[] {
  const { policies } = dataset;
  const out: ClevrPolicyExample[] = [];
  for (let i = policies.findIndex((p) => p.id === policyId); i >= 0 && i < dataset.size('test') && out.length < most; i += policies.length) {
    const example = dataset.example('test', i);
    if (example.leafId === nodeId || example.path.includes(nodeId)) out.push(example);
  }
  return out;
}
