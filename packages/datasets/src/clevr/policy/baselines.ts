/** @file How far one gets without reading the policy: chance, the most frequent answer, the number of objects, histograms. */
import { ATTRIBUTES, type ObjectType } from '../attributes.ts';
import type { ClevrPolicyExample } from './dataset.ts';
import type { ClevrPolicy } from './policy.ts';

export interface ShortcutBaselines {
  /** 1 / reachable leaves, averaged over policies. */
  readonly chance: number;
  readonly majority: number;
  readonly objectCount: number;
  /** Naive Bayes on which attribute values occur (each attribute by itself), for each policy. */
  readonly histogram: number;
}

type Item = Pick<ClevrPolicyExample, 'policyId' | 'answer'> & { readonly scene: { readonly objects: readonly ObjectType[] } };

function tally<T>(items: readonly T[], key: (item: T) => string, label: (item: T) => string): Map<string, Map<string, number>> {
  const out = new Map<string, Map<string, number>>();
  for (const item of items) {
    const counts = out.get(key(item)) ?? new Map<string, number>();
    counts.set(label(item), (counts.get(label(item)) ?? 0) + 1);
    out.set(key(item), counts);
  }
  return out;
}

function mostFrequent(counts: Map<string, number> | undefined): string {
  let best = '';
  let most = 0;
  for (const [label, n] of counts ?? []) {
    if (n > most) {
      most = n;
      best = label;
    }
  }
  return best;
}

function lookup(train: readonly Item[], test: readonly Item[], key: (item: Item) => string): number {
  const table = tally(train, key, (item) => item.answer);
  return test.filter((item) => mostFrequent(table.get(key(item))) === item.answer).length / test.length;
}

function features(item: Item): string[] {
  return ATTRIBUTES.flatMap((attribute) => [...new Set(item.scene.objects.map((object) => object[attribute] as string))]);
}

const VALUES = 15;

function histogram(train: readonly Item[], test: readonly Item[]): number {
  const models = new Map<string, { labels: Map<string, number>; seen: Map<string, Map<string, number>> }>();
  for (const item of train) {
    const model = models.get(item.policyId) ?? { labels: new Map<string, number>(), seen: new Map<string, Map<string, number>>() };
    models.set(item.policyId, model);
    model.labels.set(item.answer, (model.labels.get(item.answer) ?? 0) + 1);
    const seen = model.seen.get(item.answer) ?? new Map<string, number>();
    for (const feature of features(item)) seen.set(feature, (seen.get(feature) ?? 0) + 1);
    model.seen.set(item.answer, seen);
  }
  const all = [...new Set(train.flatMap(features))].slice(0, VALUES);
  const right = test.filter((item) => {
    const model = models.get(item.policyId);
    const present = new Set(features(item));
    let best = '';
    let most = -Infinity;
    for (const [label, n] of model?.labels ?? []) {
      let score = Math.log(n);
      for (const feature of all) {
        const p = ((model?.seen.get(label)?.get(feature) ?? 0) + 1) / (n + 2);
        score += Math.log(present.has(feature) ? p : 1 - p);
      }
      if (score > most) {
        most = score;
        best = label;
      }
    }
    return best === item.answer;
  });
  return right.length / test.length;
}

/** Test accuracy of the shortcuts, learnt from the training examples. Both lists must not be empty. */
export function shortcutBaselines(policies: readonly Pick<ClevrPolicy, 'reachable'>[], train: readonly Item[], test: readonly Item[]): ShortcutBaselines {
  return {
    chance: policies.reduce((sum, policy) => sum + 1 / policy.reachable.length, 0) / policies.length,
    majority: lookup(train, test, (item) => item.policyId),
    objectCount: lookup(train, test, (item) => `${item.policyId} ${item.scene.objects.length}`),
    histogram: histogram(train, test),
  };
}
