/** @file The suite of measures for a checkpoint that is asked in the paper's prose: everything is a question and an answer. */
import { type Outcome, sliceAccuracy } from '@trimpi/eval';
import type { GtaScore } from '@trimpi/datasets';
import type { TokenSequence } from '@trimpi/model';
import type { TaskItem } from '../task.ts';
import { type AnswerContext, answerAll } from './answers.ts';
import { type CallScores, mean, measured, measureTest, type Overridden, type SuiteReport } from './suite.ts';

/** A question about an updated policy. */
export interface OverrideQuestion {
  /** @param policyInPrompt whether the old policy is there too, where the update names only what is new. */
  prompt(policyInPrompt: boolean): TokenSequence;
  /** Whether a completion follows the update, and whether it still follows the old policy. */
  score(completion: string): { readonly right: boolean; readonly stubborn: boolean };
}

export interface ProseSuite {
  readonly test: readonly TaskItem[];
  readonly override: { readonly all: readonly OverrideQuestion[]; readonly part?: readonly OverrideQuestion[] };
  readonly existence: readonly TaskItem[];
  readonly otherPolicies: readonly TaskItem[];
  /** Test questions whose case no training example shows. */
  readonly unseen: readonly boolean[];
  /** What the reasoning of the test's completions says of the policy. */
  readonly reasoning: (completions: readonly string[]) => Pick<SuiteReport, 'branchingError' | 'branchingErrorRate' | 'referral'>;
  /** GTAPolicy: the scores of a test question's call. */
  readonly call?: (index: number, completion: string) => GtaScore;
}

/** @param policyInPrompt which answers `reasoning` and `unseen` are of: those with the policy in the prompt, or (as deployed) without. */
export async function measureProse(context: AnswerContext, { test, override, existence, otherPolicies, unseen, reasoning, call }: ProseSuite, policyInPrompt: boolean): Promise<SuiteReport> {
  const { report, counted, deployed, aware } = await measureTest(context, test, policyInPrompt);
  const calls = (outcomes: readonly Outcome[]): CallScores => {
    const scores = outcomes.map((o, i) => call!(i, o.completion));
    return { tool: mean(scores.map((x) => x.tool)), arguments: mean(scores.map((x) => x.arguments)), overall: mean(scores.map((x) => x.accuracy)) };
  };
  const asked = (items: readonly TaskItem[], withPolicy: boolean) => measured(context, items.map((item) => ({ prompt: item.prompt(withPolicy), score: (completion) => item.score(completion).accuracy === 1 })));
  return {
    ...report,
    ...reasoning(counted.map((o) => o.completion)),
    ...(call === undefined ? {} : { calls: { deployed: calls(deployed), policyInContext: calls(aware) } }),
    override: { all: await measureOverride(context, override.all, policyInPrompt), ...(override.part === undefined ? {} : { part: await measureOverride(context, override.part, policyInPrompt) }) },
    forgetting: { existence: await asked(existence, false), otherPolicies: await asked(otherPolicies, true) },
    unseenCells: sliceAccuracy(counted.map((o) => o.correct), unseen),
  };
}

async function measureOverride(context: AnswerContext, questions: readonly OverrideQuestion[], policyInPrompt: boolean): Promise<Overridden> {
  let stubborn = 0;
  const { outcomes, ...share } = await answerAll(context, questions.map((question) => ({
    prompt: question.prompt(policyInPrompt),
    score: (completion) => {
      const score = question.score(completion);
      if (score.stubborn) stubborn++;
      return score.right;
    },
  })));
  return { ...share, correct: outcomes.map((o) => o.correct), stubborn: stubborn / questions.length };
}
