/**
 * @file Policy trees by the paper's rule. On a path, a true edge closes its attribute type, a false edge excludes its
 * (type, value), and a path ends at depth N or when nothing is left to ask. The number of leaves is then forced:
 * 4, 8, 16, 31, 55, 87, 123 for N = 2..8, whatever the seed (the paper states 4, 16, 55 for 2, 4, 6).
 */
import { requireInteger, requireOneOf, DatasetError } from '../../core/error.ts';
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';
import { ATTRIBUTE_VALUES, ATTRIBUTES, type Attribute, type AttributeValue, type Filter } from '../attributes.ts';
import { isSatisfiable, type ExistenceDemand } from './possible.ts';
import { sampleRichCondition } from './rich.ts';
import type { Condition, DecisionNode, LeafNode, PolicyTree, TreeMode, TreeNode, TreeSemantics } from './types.ts';

export interface SampleTreeOptions {
  /** Decision layers N: 1 to 8. */
  readonly depth: number;
  readonly seed: StreamKey;
  /** `paper` by default. */
  readonly mode?: TreeMode;
  /** `refine` by default; `rich` trees are always independent. */
  readonly semantics?: TreeSemantics;
}

interface Branch {
  readonly depth: number;
  readonly id: string;
  readonly filter: Filter;
  readonly closed: readonly Attribute[];
  readonly excluded: readonly AttributeValue[];
  readonly demand: ExistenceDemand;
  readonly asked: readonly string[];
}

type Draft = { readonly node: Omit<DecisionNode, 'yes' | 'no'>; readonly yes: Draft; readonly no: Draft } | { readonly leaf: string };

/** A random tree. Cases are a random permutation of the leaves. Throws `invalidArgument` for a bad option. */
export function sampleTree(options: SampleTreeOptions): PolicyTree {
  const depth = requireInteger('depth', options.depth, 1, 8);
  const mode = requireOneOf('mode', options.mode ?? 'paper', ['paper', 'reachable', 'rich']);
  const semantics = mode === 'rich' ? 'independent' : requireOneOf('semantics', options.semantics ?? 'refine', ['refine', 'independent']);
  const random = randomStream(options.seed, 'tree', depth, mode, semantics);
  const start: Branch = { depth: 0, id: '1', filter: {}, closed: [], excluded: [], demand: { positives: [], negatives: [] }, asked: [] };
  const draft = grow(start, depth, mode, semantics, random);
  let count = 0;
  const countLeaves = (d: Draft): void => {
    if ('leaf' in d) count++;
    else {
      countLeaves(d.yes);
      countLeaves(d.no);
    }
  };
  countLeaves(draft);
  const cases = random.shuffle(Array.from({ length: count }, (_, i) => i));
  return assembleTree(draft, { depth, mode, semantics }, cases);
}

function assembleTree(draft: Draft, head: Pick<PolicyTree, 'depth' | 'mode' | 'semantics'>, cases: readonly number[]): PolicyTree {
  const leaves: LeafNode[] = [];
  const build = (d: Draft): TreeNode => {
    if ('leaf' in d) {
      const leaf: LeafNode = { kind: 'leaf', id: d.leaf, index: leaves.length, case: cases[leaves.length] as number };
      leaves.push(leaf);
      return leaf;
    }
    const yes = build(d.yes);
    const no = build(d.no);
    return { ...d.node, yes, no };
  };
  const root = build(draft);
  if (root.kind === 'leaf') throw new DatasetError('invalidArgument', 'the tree has no condition; use a depth of at least 1.');
  return { depth: head.depth, mode: head.mode, semantics: head.semantics, root, nodes: collectNodes(root), leaves };
}

/** The decision nodes of a tree, depth first, yes before no. */
export function collectNodes(root: TreeNode): DecisionNode[] {
  return root.kind === 'leaf' ? [] : [root, ...collectNodes(root.yes), ...collectNodes(root.no)];
}

function grow(branch: Branch, depth: number, mode: TreeMode, semantics: TreeSemantics, random: Random): Draft {
  if (branch.depth === depth) return { leaf: branch.id };
  if (mode === 'rich') return growRich(branch, depth, random);
  const options = ATTRIBUTES.filter((attribute) => !branch.closed.includes(attribute))
    .map((attribute) => ({
      attribute,
      values: ATTRIBUTE_VALUES[attribute].filter(
        (value) => !branch.excluded.includes(value) && (mode === 'paper' || bothOpen(branch, attribute, value, semantics)),
      ),
    }))
    .filter((option) => option.values.length > 0);
  if (options.length === 0) return { leaf: branch.id };
  const { attribute, values } = random.pick(options);
  const value = random.pick(values);
  const own = ask(branch, attribute, value, semantics);
  const condition: Condition = { kind: 'exist', filter: own };
  const next = { ...branch, depth: branch.depth + 1 };
  const yes = grow(
    {
      ...next,
      id: `${branch.id}.1`,
      filter: semantics === 'refine' ? own : {},
      closed: [...branch.closed, attribute],
      demand: { positives: [...branch.demand.positives, own], negatives: branch.demand.negatives },
    },
    depth, mode, semantics, random,
  );
  const no = grow(
    {
      ...next,
      id: `${branch.id}.2`,
      excluded: [...branch.excluded, value],
      demand: { positives: branch.demand.positives, negatives: [...branch.demand.negatives, own] },
    },
    depth, mode, semantics, random,
  );
  return { node: { kind: 'decision', id: branch.id, condition, asked: { attribute, value } }, yes, no };
}

function ask(branch: Branch, attribute: Attribute, value: AttributeValue, semantics: TreeSemantics): Filter {
  return semantics === 'refine' ? { ...branch.filter, [attribute]: value } : { [attribute]: value };
}

function bothOpen(branch: Branch, attribute: Attribute, value: AttributeValue, semantics: TreeSemantics): boolean {
  const own = ask(branch, attribute, value, semantics);
  const { positives, negatives } = branch.demand;
  return isSatisfiable({ positives: [...positives, own], negatives }) && isSatisfiable({ positives, negatives: [...negatives, own] });
}

function growRich(branch: Branch, depth: number, random: Random): Draft {
  let condition = sampleRichCondition(random);
  for (let i = 0; i < 100 && branch.asked.includes(JSON.stringify(condition)); i++) condition = sampleRichCondition(random);
  const next = { ...branch, depth: branch.depth + 1, asked: [...branch.asked, JSON.stringify(condition)] };
  const yes = growRichChild({ ...next, id: `${branch.id}.1` }, depth, random);
  const no = growRichChild({ ...next, id: `${branch.id}.2` }, depth, random);
  return { node: { kind: 'decision', id: branch.id, condition }, yes, no };
}

function growRichChild(branch: Branch, depth: number, random: Random): Draft {
  return branch.depth === depth ? { leaf: branch.id } : growRich(branch, depth, random);
}

/** What a path from the root has closed, excluded and demanded. */
function branchAt(tree: PolicyTree, id: string): Branch {
  let branch: Branch = { depth: 0, id: '1', filter: {}, closed: [], excluded: [], demand: { positives: [], negatives: [] }, asked: [] };
  let node: TreeNode = tree.root;
  while (node.kind === 'decision' && node.id !== id) {
    const outcome: boolean = id === `${node.id}.1` || id.startsWith(`${node.id}.1.`);
    const { condition, asked }: DecisionNode = node;
    const own: Filter = condition.kind === 'exist' ? condition.filter : {};
    const { positives, negatives } = branch.demand;
    branch = {
      depth: branch.depth + 1,
      id: `${node.id}.${outcome ? 1 : 2}`,
      filter: outcome && tree.semantics === 'refine' ? own : branch.filter,
      closed: outcome && asked ? [...branch.closed, asked.attribute] : branch.closed,
      excluded: !outcome && asked ? [...branch.excluded, asked.value] : branch.excluded,
      demand: outcome ? { positives: [...positives, own], negatives } : { positives, negatives: [...negatives, own] },
      asked: [...branch.asked, JSON.stringify(condition)],
    };
    node = outcome ? node.yes : node.no;
  }
  if (node.id !== id || node.kind === 'leaf') {
    throw new DatasetError('invalidArgument', `id is ${JSON.stringify(id)}; pass the id of a condition of the tree.`);
  }
  return branch;
}

/**
 * The tree with the part below condition `id` (and that condition) sampled anew by the same rule. Leaves outside keep their
 * cases; the new part takes the cases of the old one, moved on by one, so that no leaf of it answers as before.
 */
export function regrowSubtree(tree: PolicyTree, id: string, seed: StreamKey): PolicyTree {
  const random = randomStream(seed, 'regrow', id);
  const fresh = grow(branchAt(tree, id), tree.depth, tree.mode, tree.semantics, random);
  const draftOf = (node: TreeNode): Draft => {
    if (node.id === id) return fresh;
    if (node.kind === 'leaf') return { leaf: node.id };
    const { yes, no, ...own } = node;
    return { node: own, yes: draftOf(yes), no: draftOf(no) };
  };
  const ids: string[] = [];
  const list = (draft: Draft): void => {
    if ('leaf' in draft) ids.push(draft.leaf);
    else {
      list(draft.yes);
      list(draft.no);
    }
  };
  const draft = draftOf(tree.root);
  list(draft);
  const inside = (leaf: string): boolean => leaf === id || leaf.startsWith(`${id}.`);
  const old = tree.leaves.filter((leaf) => inside(leaf.id)).map((leaf) => leaf.case);
  const pool = [...old.slice(1), old[0] as number];
  let next = Math.max(...tree.leaves.map((leaf) => leaf.case)) + 1;
  const cases = ids.map((leaf) => (inside(leaf) ? (pool.shift() ?? next++) : (tree.leaves.find((l) => l.id === leaf)?.case ?? next++)));
  return assembleTree(draft, tree, cases);
}

/** The steps from the root to each leaf, in the order of `tree.leaves`. */
export function leafPaths(tree: PolicyTree): { readonly node: DecisionNode; readonly outcome: boolean }[][] {
  const out: { node: DecisionNode; outcome: boolean }[][] = [];
  const walk = (node: TreeNode, path: { node: DecisionNode; outcome: boolean }[]): void => {
    if (node.kind === 'leaf') {
      out.push(path);
      return;
    }
    walk(node.yes, [...path, { node, outcome: true }]);
    walk(node.no, [...path, { node, outcome: false }]);
  };
  walk(tree.root, []);
  return out;
}
