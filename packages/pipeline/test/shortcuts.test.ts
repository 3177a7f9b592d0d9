/** @file What a report compares accuracies with: chance, the majority answer, shortcuts. */
import { shortcutBaselines } from '@trimpi/datasets';
import { expect, it } from 'vitest';
import { clevrShortcuts, DEMO_CONFIG, runDataset } from '../src/index.ts';

it("chance in the demo's data of seed 1 counts the cases that a scene reaches, of every policy", () => {
  const dataset = runDataset({ ...DEMO_CONFIG, seed: 1 });
  const [train, test] = (['train', 'test'] as const).map((split) => Array.from({ length: dataset.size(split) }, (_, i) => dataset.example(split, i))) as [ReturnType<typeof dataset.example>[], ReturnType<typeof dataset.example>[]];
  // A hundred balanced examples of each policy show all its cases: one policy has three.
  const cases = dataset.policies.map(({ id }) => new Set(train.filter((e) => e.policyId === id).map((e) => e.answer)).size);
  expect(cases.toSorted()).toEqual([3, 4, 4, 4]);
  const { chance, majority, shortcuts } = clevrShortcuts(dataset, train, test);
  expect(chance).toBeCloseTo(cases.reduce((sum, n) => sum + 1 / n, 0) / 4, 12);
  expect((100 * chance).toFixed(1)).toBe('27.1');
  expect(shortcutBaselines(dataset.policies, train, test)).toMatchObject(shortcuts);
  // The answer that most training examples of a policy have, asked of its test questions.
  const most = new Map(dataset.policies.map(({ id }) => {
    const counts = new Map<string, number>();
    for (const { policyId, answer } of train) if (policyId === id) counts.set(answer, (counts.get(answer) ?? 0) + 1);
    return [id, Math.max(...counts.values())] as const;
  }));
  const answersAt = (id: string) => [...new Set(train.filter((e) => e.policyId === id).map((e) => e.answer))].filter((a) => train.filter((e) => e.policyId === id && e.answer === a).length === most.get(id));
  const share = (pick: (own: number[]) => number) => dataset.policies.reduce((sum, { id }) => sum + pick(answersAt(id).map((a) => test.filter((e) => e.policyId === id && e.answer === a).length)), 0) / test.length;
  // Where several are as frequent, it is one of them.
  expect(majority).toBeGreaterThanOrEqual(share((own) => Math.min(...own)) - 1e-12);
  expect(majority).toBeLessThanOrEqual(share((own) => Math.max(...own)) + 1e-12);
});
