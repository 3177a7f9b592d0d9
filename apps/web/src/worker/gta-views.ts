/** @file The rules of compact GTAPolicy and its questions in the form in which the page shows them: a tree for each tool. */
import type { CompactGtaDataset, CompactGtaExample, CompactGtaPolicy, CompactGtaRules } from '@trimpi/datasets';
import { gtaDataset, type RunConfig, scoreGtaItem, TINY_BASE_SCENES } from '@trimpi/pipeline';
import type { PolicyView, SceneView, TreeView } from '../protocol.ts';
import type { PageData } from './run-data.ts';
import { scenePicture } from './views.ts';

type Node = CompactGtaRules['root'];
type Condition = Extract<Node, { readonly kind: 'decision' }>['condition'];

export function gtaData(config: RunConfig): PageData {
  const dataset = gtaDataset(config);
  const cited = gtaCited(dataset.policy);
  return {
    policies: 1,
    views: () => [gtaPolicyView(dataset.policy)],
    question(split, index) {
      const example = dataset.example(split, index);
      return { example, scene: gtaSceneView(dataset, example), right: (text) => scoreGtaItem({ example }, text).accuracy === 1, cited };
    },
    fitting: (_policy, nodeId, most) => gtaFitting(gtaDataset({ ...config, testSize: Math.max(config.testSize, GTA_LOOKED_AT) }), nodeId, most).map((example) => gtaSceneView(dataset, example)),
  };
}

export function gtaPolicyView({ id, name, text, tools, tips }: CompactGtaPolicy): PolicyView {
  return {
    id, name, text, pictures: [],
    trees: tools.map(({ tool, root }) => ({ title: tool, root: treeView(tool, root) })),
    tips: [
      ...(tips.describe ? ['Of several pictures, one that has not been described yet is described first.'] : []),
      ...(tips.box ? ['The box of an object is asked for before its attribute.'] : []),
    ],
  };
}

export function gtaSceneView({ policy }: Pick<CompactGtaDataset, 'policy'>, example: CompactGtaExample): SceneView {
  const { policyId, policyName, query, answer, leaf, tip, scenes } = example;
  const path = wayOf(policy, leaf);
  const way = path.map(({ node, outcome }) => `${questionOf(node.condition)} ${outcome ? 'yes' : 'no'}`).join(', ');
  return {
    policyId, policyName, query, answer,
    leafId: leaf ?? '',
    path: path.map(({ node }) => node.id),
    way: [
      ...(tip === 'describe' ? ['the tip asks for a description first'] : tip === 'box' ? ['the tip asks for the box first'] : []),
      ...(way === '' ? [] : [way]),
    ].join('; '),
    pictures: scenes.map((scene, i) => scenePicture(scene, TINY_BASE_SCENES, scenes.length > 1 ? `image${i + 1}` : '')),
  };
}

/** Words of a text that are ids of the rules, each once. */
export function gtaCited({ tools }: CompactGtaPolicy): (text: string) => string[] {
  const ids = new Set(tools.flatMap(({ root }) => idsOf(root)));
  return (text) => [...new Set(text.split(/\s+/).filter((word) => ids.has(word)))];
}

/** Test questions of which every node of the rules, most probably, has several. */
export const GTA_LOOKED_AT = 3000;

/** The first `most` test questions that come by a node. */
export function gtaFitting(dataset: CompactGtaDataset, nodeId: string, most: number): CompactGtaExample[] {
  const out: CompactGtaExample[] = [];
  for (let i = 0; i < dataset.size('test') && out.length < most; i++) {
    const example = dataset.example('test', i);
    if (example.leaf === nodeId || wayOf(dataset.policy, example.leaf).some(({ node }) => node.id === nodeId)) out.push(example);
  }
  return out;
}

function wayOf({ tools }: CompactGtaPolicy, leaf: string | undefined): CompactGtaRules['cases'][number]['path'] {
  return tools.flatMap(({ cases }) => cases).find((own) => own.leaf.id === leaf)?.path ?? [];
}

function idsOf(node: Node): string[] {
  return node.kind === 'leaf' ? [node.id] : [node.id, ...idsOf(node.yes), ...idsOf(node.no)];
}

function treeView(tool: string, node: Node): TreeView {
  if (node.kind === 'leaf') return { kind: 'leaf', id: node.id, answer: `${tool} ${node.version}`, reachable: true };
  return { kind: 'decision', id: node.id, question: questionOf(node.condition), yes: treeView(tool, node.yes), no: treeView(tool, node.no) };
}

function questionOf(condition: Condition): string {
  switch (condition.kind) {
    case 'credits':
    case 'age':
      return `${condition.kind} at most ${condition.most}?`;
    case 'account': {
      const [last, ...others] = condition.accounts.toReversed();
      return `account ${others.length === 0 ? '' : `${others.toReversed().join(', ')} or `}${last}?`;
    }
    case 'image':
      return `picture shows ${condition.value}?`;
  }
}
