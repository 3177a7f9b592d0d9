/**
 * @file The compact style: a policy, its question and its reasoning as space-separated words of a closed vocabulary, for
 * models of about a million parameters. Every node and leaf has its own id, and the reasoning restates the accumulated
 * filter in exactly the words of the existence questions that such a model is pre-trained on.
 */
import { DatasetError, requireInteger } from '../../core/error.ts';
import { COLORS, filterWords, MATERIALS, SHAPES, SHOWABLE, SIZES, type Filter } from '../attributes.ts';
import { COMPACT_NAME_WORDS } from './names.ts';
import type { LeafNode, PathStep, PolicyTree, TreeNode } from './types.ts';

/** Deepest tree whose ids and cases are in some vocabulary. */
export const COMPACT_MAX_DEPTH = 6;

/** The answer of a leaf in compact style: `case3`. */
export function compactAnswer(leaf: Pick<LeafNode, 'case'>): string {
  return `case${leaf.case}`;
}

/**
 * `policy kavo miru : 1 sphere ; 1.1 metal ; 1.1.1 case0 ; ...`, depth first: 4 + 3 (nodes + leaves) words. A node of `shown`
 * has `shape <image>` instead of its value: that of the object in the picture.
 */
export function compactPolicyText(tree: PolicyTree, name: string, shown: ReadonlySet<string> = new Set()): string {
  const words: string[] = ['policy', ...name.split(' '), ':'];
  const walk = (node: TreeNode): void => {
    if (node.kind === 'leaf') {
      words.push(node.id, compactAnswer(node), ';');
      return;
    }
    if (node.asked === undefined) throw new DatasetError('invalidArgument', 'compact style writes existence trees only; use tree mode paper or reachable.');
    words.push(node.id, ...(shown.has(node.id) ? [node.asked.attribute, '<image>'] : [node.asked.value]), ';');
    walk(node.yes);
    walk(node.no);
  };
  walk(tree.root);
  return words.join(' ');
}

/** `policy kavo miru ?` */
export function compactQuery(name: string): string {
  return `policy ${name} ?`;
}

/** `ask small red ?`: whether the image has such an object. */
export function compactQuestion(filter: Filter): string {
  return ['ask', ...filterWords(filter), '?'].join(' ');
}

/** `1 ask sphere ? yes 1.1 ask metal sphere ? no 1.1.2` */
export function compactReasoning(path: readonly PathStep[], leaf: LeafNode): string {
  const words = path.flatMap(({ node, outcome }) => {
    if (node.condition.kind !== 'exist') throw new DatasetError('invalidArgument', 'compact style writes existence trees only; use tree mode paper or reachable.');
    return [node.id, compactQuestion(node.condition.filter), outcome ? 'yes' : 'no'];
  });
  return [...words, leaf.id].join(' ');
}

/** `case1 1.1.2 : 1 ask sphere ? yes 1.1 ask metal sphere ? no`: the answer first, then why. */
export function compactReverseReasoning(path: readonly PathStep[], leaf: LeafNode): string {
  const forward = compactReasoning(path, leaf);
  return `${compactAnswer(leaf)} ${leaf.id} : ${forward.slice(0, forward.length - leaf.id.length - 1)}`;
}

/** `<think> ... </think> \boxed{ case1 }` */
export function compactResponse(reasoning: string, answer: string): string {
  return `<think> ${reasoning} </think> \\boxed{ ${answer} }`;
}

function ids(prefix: string, depth: number): string[] {
  return depth === 0 ? [prefix] : [prefix, ...ids(`${prefix}.1`, depth - 1), ...ids(`${prefix}.2`, depth - 1)];
}

export interface CompactVocabularyOptions {
  /** Of the deepest tree; 4 by default. */
  readonly depth?: number;
  /** Whether policies may show values as pictures. */
  readonly demonstrations?: boolean;
}

/** Leaves of a tree of the paper's rule by depth, from 0. */
const LEAVES = [1, 2, 4, 8, 16, 31, 55];

/** Every word that compact text of trees up to a depth can hold, each once; a tokenizer of these words spells all of it. */
export function compactVocabulary({ depth = 4, demonstrations = false }: CompactVocabularyOptions = {}): string[] {
  requireInteger('depth', depth, 1, COMPACT_MAX_DEPTH);
  return [
    'policy', ':', ';', '?', 'ask', 'yes', 'no', 'caption', '<think>', '</think>', '\\boxed{', '}',
    ...SIZES, ...COLORS, ...MATERIALS, ...SHAPES,
    ...ids('1', depth),
    ...Array.from({ length: LEAVES[depth] as number }, (_, i) => `case${i}`),
    ...COMPACT_NAME_WORDS,
    ...(demonstrations ? SHOWABLE : []),
  ];
}
