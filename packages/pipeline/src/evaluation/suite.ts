/**
 * @file Everything that is measured of a model beside its accuracy: policies overridden in context, the policy put back,
 * what it says of the policy, and what it forgot.
 */
import { compactReferral, proportion, type Proportion, sliceAccuracy, unseenCells } from '@trimpi/eval';
import { branchingError, branchingErrorRate, clevrOverride, type ClevrOverrideExample, type ClevrPolicyDataset, clevrPolicy, existenceQuestions, scoreOverride } from '@trimpi/datasets';
import { packBatch, type VisionLanguageModel } from '@trimpi/model';
import { encodeExamples, type PromptWriter, type RunData, type RunItem, scoreItem } from '../data.ts';
import { measureAccuracy } from './accuracy.ts';
import { type AnswerContext, answerAll } from './answers.ts';

export interface SuiteContext extends AnswerContext {
  readonly writer: PromptWriter;
}

/** A proportion and each outcome behind it, for paired tests. */
export interface Measured extends Proportion {
  readonly correct: readonly boolean[];
}

export interface SuiteReport {
  /** The test questions as deployed: no policy in the prompt. */
  readonly accuracy: Measured;
  /** The same with the policy put back into the prompt. */
  readonly policyInContext: Measured;
  /** A new policy under the old name in the prompt: the whole tree, or one condition and all below it. `stubborn`: still the old answer. */
  readonly override: Readonly<Record<'all' | 'part', Measured & { readonly stubborn: number }>>;
  /** Average absolute difference of cited condition ids (the paper's), and the mean share of cited ids that the policy lacks. */
  readonly branchingError: number;
  readonly branchingErrorRate: number;
  /** 0 to 10: how much of what the reasoning says about the policy is right. */
  readonly referral: number;
  /** What the base could do: near-miss existence questions, and policies never seen in context. */
  readonly forgetting: { readonly existence: Measured; readonly otherPolicies: Measured };
  /** Test questions whose case no reasoned training example shows; null when there is none. */
  readonly unseenCells: Proportion | null;
  readonly promptTokens: number;
  readonly promptTokensWithPolicy: number;
  readonly prefillMs: number;
  readonly prefillMsWithPolicy: number;
}

/** Items beside the run's own, with images encoded once: the vision tower is frozen. */
export interface SuiteData {
  readonly override: Readonly<Record<'all' | 'part', { readonly items: readonly RunItem<ClevrOverrideExample>[]; readonly queries: readonly string[] }>>;
  readonly other: { readonly items: readonly RunItem[]; readonly dataset: ClevrPolicyDataset };
}

/** @param size items of each kind. */
export async function makeSuiteData(model: VisionLanguageModel, data: RunData, size: number): Promise<SuiteData> {
  const { config } = data.dataset;
  const same = { ...config, n: config.depths, test: size, train: 0, reasoned: 0 };
  const override = async (kind: 'all' | 'part') => {
    const set = clevrOverride({ ...same, crop: config.crop }, { kind, seed: `override ${String(config.seed)}` });
    return { items: await encodeExamples(model, size, (i) => set.example('test', i)), queries: set.policies.map((p) => p.query) };
  };
  const dataset = clevrPolicy({ ...same, crop: config.crop, seed: `other ${String(config.seed)}`, policies: 8 });
  return { override: { all: await override('all'), part: await override('part') }, other: { dataset, items: await encodeExamples(model, size, (i) => dataset.example('test', i)) } };
}

/** @param policyInPrompt which answers branching, referral and unseen cells are taken from: those with the policy in the prompt, or (as deployed) without. */
export async function measureSuite(context: SuiteContext, data: RunData, suite: SuiteData, policyInPrompt: boolean): Promise<SuiteReport> {
  const { model, writer } = context;
  const { test } = data;
  const items = writer.task(data).test;
  const deployed = await measureAccuracy(context, items, false);
  const aware = await measureAccuracy(context, items, true);
  const counted = policyInPrompt ? aware : deployed;
  const trees = new Map(data.dataset.policies.map((p) => [p.id, p.tree]));
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  return {
    accuracy: { ...deployed.proportion, correct: deployed.outcomes.map((o) => o.correct) },
    policyInContext: { ...aware.proportion, correct: aware.outcomes.map((o) => o.correct) },
    override: { all: await measureOverride(context, suite.override.all), part: await measureOverride(context, suite.override.part) },
    branchingError: branchingError(counted.outcomes.map((o) => o.completion), test.map((t) => t.example.response)).averageAbsoluteDifference,
    branchingErrorRate: mean(counted.outcomes.map((o, i) => branchingErrorRate(o.completion, trees.get(test[i]!.example.policyId)!))),
    referral: mean(counted.outcomes.map((o, i) => compactReferral(o.completion, trees.get(test[i]!.example.policyId)!).score)),
    forgetting: {
      existence: await measureExistence(model, writer, suite.other.items),
      otherPolicies: await measured(context, suite.other.items.map((item) => ({ prompt: writer.prompt(item, true), score: (c) => scoreItem(item, c).accuracy === 1 }))),
    },
    unseenCells: sliceAccuracy(counted.outcomes.map((o) => o.correct), unseenCells(data.reasoned.map((r) => r.example), test.map((t) => t.example))),
    promptTokens: deployed.promptTokens,
    promptTokensWithPolicy: aware.promptTokens,
    prefillMs: deployed.prefillMs,
    prefillMsWithPolicy: aware.prefillMs,
  };
}

async function measured(context: AnswerContext, questions: Parameters<typeof answerAll>[1]): Promise<Measured> {
  const { outcomes, ...share } = await answerAll(context, questions);
  return { ...share, correct: outcomes.map((o) => o.correct) };
}

async function measureOverride(context: SuiteContext, { items, queries }: SuiteData['override']['all']): Promise<Measured & { readonly stubborn: number }> {
  let stubborn = 0;
  // The updated policy stands where the base learnt to find policies: in front of the image.
  const result = await measured(context, items.map(({ example, image }) => ({
    prompt: context.writer.ask(image, queries[example.index % queries.length]!, example.policyText),
    score: (completion) => {
      const score = scoreOverride(completion, example);
      stubborn += score.stubborn;
      return score.accuracy === 1;
    },
  })));
  return { ...result, stubborn: stubborn / items.length };
}

/** Near-miss questions, four a scene, answered by the more probable of yes and no. */
async function measureExistence(model: VisionLanguageModel, writer: PromptWriter, items: readonly RunItem[]): Promise<Measured> {
  const answers = ['yes', 'no'].map((w) => writer.ids(w));
  const correct: boolean[] = [];
  for (let i = 0; i < items.length; i += 16) {
    const asked = items.slice(i, i + 16).flatMap(({ example, image }) => existenceQuestions(example.scene, { seed: `forgetting ${example.id}`, count: 4 }).map((q) => ({ q, sequence: writer.ask(image, q.question) })));
    const batch = packBatch(model.config, asked.map(({ sequence }) => ({ sequence, completions: answers })));
    const { logp } = await model.score(batch);
    const sums = asked.map(() => [0, 0]);
    batch.places.forEach(({ row, completion }, k) => (sums[row]![completion]! += logp[k]!));
    asked.forEach(({ q }, k) => correct.push((sums[k]![0]! > sums[k]![1]!) === (q.answer === 'yes')));
  }
  return { ...proportion(correct.filter(Boolean).length, correct.length), correct };
}
