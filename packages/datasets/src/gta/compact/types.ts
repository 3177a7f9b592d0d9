import type { AttributeValue } from '../../clevr/attributes.ts';
import type { Account, CompactGtaTool } from './words.ts';

/** What a node asks: a number of the user at most a grid value, the account in a set, or a value that the image at hand shows. */
export type CompactGtaCondition =
  | { readonly kind: 'credits' | 'age'; readonly most: number }
  | { readonly kind: 'account'; readonly accounts: readonly Account[] }
  | { readonly kind: 'image'; readonly value: AttributeValue };

export interface CompactGtaDecision {
  readonly kind: 'decision';
  readonly id: string;
  readonly condition: CompactGtaCondition;
  readonly yes: CompactGtaNode;
  readonly no: CompactGtaNode;
}

export interface CompactGtaLeaf {
  readonly kind: 'leaf';
  readonly id: string;
  /** `v3`, or `math`. */
  readonly version: string;
}

export type CompactGtaNode = CompactGtaDecision | CompactGtaLeaf;

/** The users and images that reach a node. Ranges are of indices into the grids, both ends included. */
export interface CompactGtaRegion {
  readonly credits: readonly [number, number];
  readonly age: readonly [number, number];
  readonly accounts: readonly Account[];
  /** Values that the image must show (true) or must not show. */
  readonly shown: ReadonlyMap<AttributeValue, boolean>;
}

/** A leaf with the way to it and all that reaches it. */
export interface CompactGtaCase {
  readonly leaf: CompactGtaLeaf;
  readonly path: readonly { readonly node: CompactGtaDecision; readonly outcome: boolean }[];
  readonly region: CompactGtaRegion;
}

export interface CompactGtaRules {
  readonly tool: CompactGtaTool;
  readonly root: CompactGtaNode;
  readonly cases: readonly CompactGtaCase[];
}

/** A policy in compact words: a decision tree for each tool, and up to two tips. */
export interface CompactGtaPolicy {
  readonly id: string;
  /** Two words. */
  readonly name: string;
  /** In the order of the text. */
  readonly tools: readonly CompactGtaRules[];
  readonly tips: { readonly describe: boolean; readonly box: boolean };
  readonly text: string;
}
