/** @file What your own policy is made of: its folder, its rows, and what is wrong with them. */
import type { Split } from '../core/example.ts';
import type { OwnAnswer, ScorerSpec } from './scorers.ts';

/** A folder: file names relative to it, with `/`. */
export interface PolicyFolder {
  /** The text of a file, or undefined when there is none. */
  readText(name: string): string | undefined;
  /** The bytes of a file, or undefined when there is none. */
  readBytes(name: string): Uint8Array | undefined;
}

/** Something wrong, or worth knowing, at a place in a file. */
export interface Finding {
  readonly file: string;
  /** From 1; 0 for the file as a whole. */
  readonly line: number;
  readonly severity: 'error' | 'warning';
  readonly message: string;
}

export interface OwnRow {
  readonly line: number;
  readonly id: string;
  readonly split: Split;
  readonly images: readonly string[];
  readonly query: string;
  readonly answer: OwnAnswer;
  /** What stands in the box of the row's own response, where that is not the answer itself: a text that a pattern matches. */
  readonly sample: string | undefined;
  readonly reasoning: string | undefined;
  readonly profile: Readonly<Record<string, unknown>> | undefined;
  readonly history: readonly unknown[] | undefined;
}

export interface OwnPolicy {
  readonly name: string;
  readonly markdown: string;
  /** Image files that the policy shows, in order. */
  readonly policyImages: readonly string[];
  readonly rows: readonly OwnRow[];
  readonly scorer: ScorerSpec;
  readonly findings: readonly Finding[];
}
