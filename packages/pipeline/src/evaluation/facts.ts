/** @file What a report says of the questions themselves. */
import { majorityAccuracy } from '@trimpi/eval';
import { type ClevrPolicyDataset, type ClevrPolicyExample, type CompactGtaDataset, type CompactGtaExample, shortcutBaselines } from '@trimpi/datasets';
import type { Tokenizer, VisionLanguageModel } from '@trimpi/model';
import type { GtaRunData, RunData } from '../data.ts';
import type { ReportFacts } from '../run-report.ts';
import { measureCanonical, measureGtaCanonical } from './canonical.ts';

export async function clevrFacts(model: VisionLanguageModel, tokenizer: Tokenizer, { dataset, train, test }: RunData, n: number): Promise<Omit<ReportFacts, 'adapter'>> {
  const examples = (items: RunData['test']) => items.map((t) => t.example);
  const { policies } = dataset;
  const cases = policies[0]!.tree.leaves.length;
  return {
    title: `TriMPI: ${policies.length} policies of ${cases} cases into the weights (ClevrPolicy-${dataset.config.variant.toUpperCase()}, N=${n})`,
    ...clevrShortcuts(dataset, examples(train), examples(test)),
    canonical: await measureCanonical(model, tokenizer, dataset, test[0]!.images[0]!, test[0]!.policyImages[0]),
  };
}

/** Chance draws one of the cases that some scene reaches. */
export function clevrShortcuts({ policies }: Pick<ClevrPolicyDataset, 'policies'>, train: readonly ClevrPolicyExample[], test: readonly ClevrPolicyExample[]): { readonly chance: number; readonly majority: number; readonly shortcuts: { readonly objectCount: number; readonly histogram: number } } {
  const { chance, objectCount, histogram } = shortcutBaselines(policies, train, test);
  return { chance, majority: majorityAccuracy(train, test), shortcuts: { objectCount, histogram } };
}

export async function gtaFacts(model: VisionLanguageModel, tokenizer: Tokenizer, data: GtaRunData): Promise<Omit<ReportFacts, 'adapter'>> {
  const cases = data.dataset.policy.tools.reduce((n, tool) => n + tool.cases.length, 0);
  return { title: `TriMPI: rules of tools with ${cases} cases into the weights (GTAPolicy)`, ...gtaShortcuts(data.dataset, data.train.map((t) => t.example), data.test.map((t) => t.example)), canonical: await measureGtaCanonical(model, tokenizer, data.test[0]!.images[0]!) };
}

/** Chance draws a tool's version once the tool and its arguments are known: both stand in the question. */
export function gtaShortcuts({ policy }: Pick<CompactGtaDataset, 'policy'>, train: readonly CompactGtaExample[], test: readonly CompactGtaExample[]): { readonly chance: number; readonly majority: number } {
  const versions = new Map(policy.tools.map(({ tool, cases }) => [tool as string, new Set(cases.map((c) => c.leaf.version)).size]));
  const examples = (items: readonly CompactGtaExample[]) => items.map(({ tool, gold }) => ({ policyId: tool, answer: gold.version ?? '' }));
  return {
    chance: test.reduce((sum, t) => sum + 1 / (versions.get(t.tool) ?? 1), 0) / test.length,
    majority: majorityAccuracy(examples(train), examples(test)),
  };
}
