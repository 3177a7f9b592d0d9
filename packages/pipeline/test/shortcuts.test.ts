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
  const { chance, shortcuts } = clevrShortcuts(dataset, train, test);
  expect(chance).toBeCloseTo(cases.reduce((sum, n) => sum + 1 / n, 0) / 4, 12);
  expect((100 * chance).toFixed(1)).toBe('27.1');
  expect(shortcutBaselines(dataset.policies, train, test)).toMatchObject(shortcuts);
});
