import type { Outcome, Proportion } from '@trimpi/eval';
import type { TaskItem, TaskScore } from '../task.ts';
import { type AnswerContext, answerAll, meanTokens, prefillTime } from './answers.ts';

export interface AccuracyReport {
  readonly proportion: Proportion;
  readonly outcomes: readonly Outcome[];
  readonly promptTokens: number;
  readonly prefillMs: number;
}

/** The test questions, with the policy in the prompt or (as deployed) without it. */
export async function measureAccuracy(context: AnswerContext, test: readonly TaskItem[], policyInPrompt: boolean): Promise<AccuracyReport> {
  const prompts = test.map((item) => item.prompt(policyInPrompt));
  const { outcomes, ...proportion } = await answerAll(context, test.map((item, i) => ({ prompt: prompts[i]!, score: (completion) => isRight(item.score(completion)) })));
  return { proportion, outcomes, promptTokens: meanTokens(prompts), prefillMs: await prefillTime(context.model, prompts, context.adapter) };
}

function isRight({ accuracy, correct = accuracy === 1 }: TaskScore): boolean {
  return correct;
}
