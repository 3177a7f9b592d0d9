/** @file What a run trains on and is measured by, wherever it comes from. */
import type { CallScores } from '@trimpi/eval';
import type { TokenSequence } from '@trimpi/model';
import type { SupervisedRow } from '@trimpi/trainers';
import type { SupervisedKind } from './train/supervised.ts';

/** An example, written for the model. */
export interface TaskItem {
  readonly id: string;
  /** Images and query, with the policy before them when it is wanted. */
  prompt(policyInPrompt: boolean): TokenSequence;
  /**
   * A row of a supervised stage. `vm-cpt` (eq. 2): policy, images, query, reasoning and answer, a loss on all but visual
   * tokens; `cpt`: the same with a loss on those as well; `cot-sft` (eq. 6): no policy, a loss on reasoning and answer; `direct-sft`: no reasoning either.
   */
  row(kind: SupervisedKind): SupervisedRow;
  /** Rewards of a completion. */
  score(completion: string): TaskScore;
}

export interface TaskScore {
  /** From 0 to 1, as `format`. */
  readonly accuracy: number;
  readonly format: number;
  /** Whether an evaluation counts it as right. Default: an accuracy of 1. */
  readonly correct?: boolean;
}

export interface Task {
  readonly train: readonly TaskItem[];
  /** Those of `train` that come with reasoning. */
  readonly reasoned: readonly TaskItem[];
  readonly test: readonly TaskItem[];
  /** Tokens that end a completion. */
  readonly stopIds: readonly number[];
  text(tokens: ArrayLike<number>): string;
  /** The paper's branching error of completions of `test`: how far the cited condition ids are from those of the right reasoning. */
  branchingError?(completions: readonly string[]): number;
  /** GTAPolicy's scores of completions of `test`. */
  calls?(completions: readonly string[]): CallScores;
}
