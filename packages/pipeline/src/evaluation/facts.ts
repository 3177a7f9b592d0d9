/** @file What a report says of the ClevrPolicy questions themselves. */
import { majorityAccuracy } from '@trimpi/eval';
import { shortcutBaselines } from '@trimpi/datasets';
import type { Tokenizer, VisionLanguageModel } from '@trimpi/model';
import type { RunData } from '../data.ts';
import type { ReportFacts } from '../run-report.ts';
import { measureCanonical } from './canonical.ts';

export async function clevrFacts(model: VisionLanguageModel, tokenizer: Tokenizer, data: RunData, n: number): Promise<Omit<ReportFacts, 'adapter'>> {
  const { policies } = data.dataset;
  const [train, test] = [data.train, data.test].map((items) => items.map((t) => t.example)) as [RunData['train'][number]['example'][], RunData['test'][number]['example'][]];
  const { objectCount, histogram } = shortcutBaselines(policies, train, test);
  const cases = policies[0]!.tree.leaves.length;
  return {
    title: `TriMPI: ${policies.length} policies of ${cases} cases into the weights (ClevrPolicy-${data.dataset.config.variant.toUpperCase()}, N=${n})`,
    chance: 1 / cases,
    majority: majorityAccuracy(train, test),
    shortcuts: { objectCount, histogram },
    canonical: await measureCanonical(model, tokenizer, data.dataset, data.test[0]!.images[0]!, data.test[0]!.policyImages[0]),
  };
}
