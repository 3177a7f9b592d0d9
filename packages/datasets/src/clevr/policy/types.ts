import type { Attribute, AttributeValue, Filter } from '../attributes.ts';
import type { Relation } from '../scene/types.ts';

export const EXTREMES = ['leftmost', 'rightmost', 'closest', 'farthest'] as const;
export type Extreme = (typeof EXTREMES)[number];

/** A yes-or-no statement about a scene. `exist` is the paper's only kind; the others are the richer policies'. */
export type Condition =
  | { readonly kind: 'exist'; readonly filter: Filter }
  | { readonly kind: 'count'; readonly filter: Filter; readonly compare: 'atLeast' | 'exactly' | 'fewer'; readonly k: number }
  | { readonly kind: 'more'; readonly a: Filter; readonly b: Filter }
  | { readonly kind: 'even'; readonly filter: Filter }
  | { readonly kind: 'extreme'; readonly extreme: Extreme; readonly attribute: Attribute; readonly value: AttributeValue }
  | { readonly kind: 'relation'; readonly a: Filter; readonly relation: Relation; readonly b: Filter }
  | { readonly kind: 'same'; readonly extreme: Extreme; readonly attribute: Attribute }
  | { readonly kind: 'pair'; readonly filter: Filter; readonly attribute: Attribute }
  | { readonly kind: 'all'; readonly filter: Filter; readonly attribute: Attribute };

/** A node that asks; `.1` of its id is where yes leads, `.2` where no leads. */
export interface DecisionNode {
  readonly kind: 'decision';
  readonly id: string;
  readonly condition: Condition;
  /** For the paper's trees: what this node adds to the filter of its true ancestors. */
  readonly asked?: { readonly attribute: Attribute; readonly value: AttributeValue };
  readonly yes: TreeNode;
  readonly no: TreeNode;
}

/** A node that answers `Case {case}`. */
export interface LeafNode {
  readonly kind: 'leaf';
  readonly id: string;
  /** Place in {@link PolicyTree.leaves}. */
  readonly index: number;
  readonly case: number;
}

export type TreeNode = DecisionNode | LeafNode;

/**
 * `refine` (the paper's reading): conditions on true edges accumulate on one object, so a node asks whether an object
 * with its own value and those of all true ancestors exists. `independent`: every node asks about any object.
 */
export type TreeSemantics = 'refine' | 'independent';

/** `paper`: 4, 16, 55 leaves; `reachable`: no node whose outcome is already decided; `rich`: all kinds of condition. */
export type TreeMode = 'paper' | 'reachable' | 'rich';

export interface PolicyTree {
  readonly depth: number;
  readonly mode: TreeMode;
  readonly semantics: TreeSemantics;
  readonly root: DecisionNode;
  /** Depth first, yes before no. */
  readonly nodes: readonly DecisionNode[];
  readonly leaves: readonly LeafNode[];
}

/** One step down a tree. */
export interface PathStep {
  readonly node: DecisionNode;
  readonly outcome: boolean;
}

/** Where a scene ends up. */
export interface TreeEvaluation {
  readonly leaf: LeafNode;
  readonly answer: string;
  readonly path: readonly PathStep[];
}

/** The answer of a leaf in the paper's form. */
export function caseAnswer(leaf: Pick<LeafNode, 'case'>): string {
  return `Case ${leaf.case}`;
}
