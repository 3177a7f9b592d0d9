import type { Outcome, Proportion } from '@trimpi/eval';
import { branchingError } from '@trimpi/datasets';
import { type RunItem, scoreItem } from '../data.ts';
import { type AnswerContext, answerAll, meanTokens, prefillTime } from './answers.ts';

export interface AccuracyReport {
  readonly proportion: Proportion;
  readonly outcomes: readonly Outcome[];
  /** The paper's branching error: how far the cited condition ids are from those of the right reasoning. */
  readonly branchingError: number;
  readonly promptTokens: number;
  readonly prefillMs: number;
}

/** The test questions, with the policy in the prompt or (as deployed) without it. */
export async function measureAccuracy(context: AnswerContext, test: readonly RunItem[], policyInPrompt: boolean): Promise<AccuracyReport> {
  const prompts = test.map((item) => context.writer.prompt(item, policyInPrompt));
  const { outcomes, ...proportion } = await answerAll(context, test.map((item, i) => ({ prompt: prompts[i]!, score: (completion) => scoreItem(item, completion).accuracy === 1 })));
  return {
    proportion,
    outcomes,
    branchingError: branchingError(outcomes.map((o) => o.completion), test.map((item) => item.example.response)).averageAbsoluteDifference,
    promptTokens: meanTokens(prompts),
    prefillMs: await prefillTime(context.model, prompts),
  };
}
