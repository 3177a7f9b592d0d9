import { gtaDataset } from '@trimpi/pipeline';
import { expect, it } from 'vitest';
import type { TreeView } from '../src/protocol.ts';
import { GTA_LOOKED_AT, gtaCited, gtaFitting, gtaPolicyView, gtaSceneView } from '../src/worker/gta-views.ts';

const config = { seed: 7, policies: 1, trainPerPolicy: 8, reasonedPerPolicy: 4, testSize: 120 };
const dataset = gtaDataset(config);
const view = gtaPolicyView(dataset.policy);
const nodesOf = (node: TreeView): TreeView[] => (node.kind === 'leaf' ? [node] : [node, ...nodesOf(node.yes), ...nodesOf(node.no)]);

it('has a tree for each tool, with the ids that the text has', () => {
  expect(view.trees.map((t) => t.title).toSorted()).toEqual(['attribute', 'count', 'describe', 'draw', 'ocr', 'restyle', 'search']);
  const ids = view.trees.flatMap((t) => nodesOf(t.root)).map((node) => node.id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.toSorted()).toEqual([...new Set(dataset.policy.text.split(' ').filter((word) => /^n\d+$/.test(word)))].toSorted());
  expect(view.tips).toHaveLength(2);
  const questions = view.trees.flatMap((t) => nodesOf(t.root)).flatMap((node) => (node.kind === 'leaf' ? [] : [node.question]));
  expect(questions).toEqual(expect.arrayContaining(['picture shows red?', 'account B or C?', 'account A?', 'account A, B or C?', 'age at most 20?']));
});

it('says the way to a call, and finds in its reasoning just the nodes on it', () => {
  const cited = gtaCited(dataset.policy);
  const all = Array.from({ length: config.testSize }, (_, i) => dataset.example('test', i));
  // Pictures take their time: a few of all, and one for each tip.
  const asked = [...all.slice(0, 8), all.find((e) => e.tip === 'describe')!, all.find((e) => e.tip === 'box')!];
  expect(new Set(asked.map((e) => e.images.length))).toEqual(new Set([1, 2, 3]));
  for (const example of asked) {
    const scene = gtaSceneView(dataset, example);
    expect(cited(example.response)).toEqual([...scene.path, ...(scene.leafId === '' ? [] : [scene.leafId])]);
    expect(scene.pictures.map((p) => p.name)).toEqual(example.images.length === 1 ? [''] : ['image1', 'image2', 'image3'].slice(0, example.images.length));
    expect(scene.way).not.toBe('');
    expect(scene.way.includes('the tip asks')).toBe(example.tip !== undefined);
  }
});

it('finds test questions for every condition and case', () => {
  const longer = gtaDataset({ ...config, testSize: GTA_LOOKED_AT });
  expect(longer.example('test', 5).query).toBe(dataset.example('test', 5).query);
  for (const { id } of view.trees.flatMap((t) => nodesOf(t.root))) {
    const found = gtaFitting(longer, id, 2);
    expect(found, id).toHaveLength(2);
    for (const { reasoning } of found) expect(reasoning.split(' ')).toContain(id);
  }
});
