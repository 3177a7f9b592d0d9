/**
 * @file Everything that is measured of a model beside its accuracy: policies overridden in context, the policy put back,
 * what it says of the policy, and what it forgot.
 */
import { type CallScores, compactReferral, type Outcome, proportion, type Proportion, sliceAccuracy, unseenCells } from '@trimpi/eval';
import { branchingError, branchingErrorRate, clevrOverride, type ClevrOverrideExample, type ClevrPolicyDataset, type ClevrPolicyExample, clevrPolicy, compactGta, type CompactGtaExample, existenceQuestions, lookupDrill, resolveCompactGta, type SeenScene, sceneValues, scoreOverride } from '@trimpi/datasets';
import { type BatchImage, packBatch, type VisionLanguageModel } from '@trimpi/model';
import { TINY_BASE_SCENES } from '../base/scenes.ts';
import { callScores, encodeExamples, type GtaRunData, type PromptWriter, type RunData, type RunItem, scoreGtaItem, scoreItem } from '../data.ts';
import type { TaskItem } from '../task.ts';
import { measureAccuracy } from './accuracy.ts';
import { type AnswerContext, answerAll } from './answers.ts';

export type { CallScores };

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
  /** A new policy under the old name in the prompt: the whole of it, or (ClevrPolicy) one condition and all below it. `stubborn`: still the old answer. */
  readonly override: { readonly all: Overridden; readonly part?: Overridden };
  /** ClevrPolicy: average absolute difference of cited condition ids (the paper's), and the mean share of cited ids that the policy lacks. */
  readonly branchingError?: number;
  readonly branchingErrorRate?: number;
  /** ClevrPolicy, 0 to 10: how much of what the reasoning says about the policy is right. */
  readonly referral?: number;
  /** GTAPolicy: means of the paper's scores, without the policy in the prompt and with it. */
  readonly calls?: { readonly deployed: CallScores; readonly policyInContext: CallScores };
  /**
   * What the base could do: near-miss existence questions, policies never seen in context, and lookup drills without a picture
   * (absent in rows from before there were any, and for checkpoints that never learnt their words).
   */
  readonly forgetting: { readonly existence: Measured; readonly otherPolicies: Measured; readonly textTask?: Measured };
  /** Test questions whose case no (reasoned, for ClevrPolicy) training example shows; null when there is none. */
  readonly unseenCells: Proportion | null;
  readonly promptTokens: number;
  readonly promptTokensWithPolicy: number;
  readonly prefillMs: number;
  readonly prefillMsWithPolicy: number;
}

/** Shares of an overriding policy's questions that are answered by the new policy, and by the old one. */
export interface Overridden extends Measured {
  readonly stubborn: number;
}

/** Items beside the run's own, with images encoded once: the vision tower is frozen. */
export interface SuiteData {
  readonly override: Readonly<Record<'all' | 'part', { readonly items: readonly RunItem<ClevrOverrideExample>[]; readonly queries: readonly string[] }>>;
  readonly other: { readonly items: readonly RunItem[]; readonly dataset: ClevrPolicyDataset };
}

/** The same for GTAPolicy: other rules under the run's name, other rules under their own, and ClevrPolicy's existence questions. */
export interface GtaSuiteData {
  readonly override: readonly RunItem<CompactGtaExample>[];
  readonly other: readonly RunItem<CompactGtaExample>[];
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

/** Other rules of as many tools as the paper has. */
export async function makeGtaSuiteData(model: VisionLanguageModel, data: GtaRunData, size: number): Promise<GtaSuiteData> {
  const items = (kind: string) => {
    const set = compactGta({ ...TINY_BASE_SCENES, seed: `${kind} ${String(data.dataset.seed)}`, policy: { seed: `${kind} ${String(data.dataset.seed)}` }, train: 0, test: size, reasoned: 0 });
    return encodeExamples(model, size, (i) => set.example('test', i));
  };
  return { override: await items('override'), other: await items('other') };
}

/** @param policyInPrompt which answers branching, referral and unseen cells are taken from: those with the policy in the prompt, or (as deployed) without. */
export async function measureSuite(context: SuiteContext, data: RunData, suite: SuiteData, policyInPrompt: boolean): Promise<SuiteReport> {
  const { model, writer } = context;
  const { test } = data;
  const { report, counted } = await measureTest(context, writer.task(data).test, policyInPrompt);
  const trees = new Map(data.dataset.policies.map((p) => [p.id, p.tree]));
  return {
    ...report,
    override: { all: await measureOverride(context, suite.override.all), part: await measureOverride(context, suite.override.part) },
    branchingError: branchingError(counted.map((o) => o.completion), test.map((t) => t.example.response)).averageAbsoluteDifference,
    branchingErrorRate: mean(counted.map((o, i) => branchingErrorRate(o.completion, trees.get(test[i]!.example.policyId)!))),
    referral: mean(counted.map((o, i) => compactReferral(o.completion, trees.get(test[i]!.example.policyId)!).score)),
    forgetting: {
      existence: await measureExistence(model, writer, suite.other.items.map(sceneAsked)),
      otherPolicies: await measured(context, suite.other.items.map((item) => ({ prompt: writer.prompt(item, true), score: (c) => scoreItem(item, c).accuracy === 1 }))),
      textTask: await measureLookups(context, String(data.dataset.config.seed), suite.other.items.length),
    },
    unseenCells: sliceAccuracy(counted.map((o) => o.correct), unseenCells(data.reasoned.map((r) => r.example), test.map((t) => t.example))),
  };
}

/** GTAPolicy: the call, its parts, other rules under the old name, and what was forgotten. */
export async function measureGtaSuite(context: SuiteContext, data: GtaRunData, suite: GtaSuiteData, policyInPrompt: boolean): Promise<SuiteReport> {
  const { model, writer } = context;
  const { test, dataset } = data;
  const { report, counted, deployed, aware } = await measureTest(context, writer.gtaTask(data).test, policyInPrompt);
  const calls = (outcomes: readonly Outcome[]) => callScores(test, outcomes.map((o) => o.completion));
  let stubborn = 0;
  const override = await measured(context, suite.override.map((item) => {
    const { example, images } = item;
    const renamed = (text: string) => text.replaceAll(example.policyName, dataset.policy.name);
    // What the old rules would have called for the same question; none where they decide alike.
    const old = oldVersion(data, example);
    return {
      prompt: writer.ask(images, renamed(example.query), { text: renamed(example.policyText), images: [] }),
      score: (completion) => {
        if (old !== undefined && scoreGtaItem({ example: { gold: { ...example.gold, version: old } } }, completion).accuracy === 1) stubborn++;
        return scoreGtaItem(item, completion).accuracy === 1;
      },
    };
  }));
  return {
    ...report,
    calls: { deployed: calls(deployed), policyInContext: calls(aware) },
    override: { all: { ...override, stubborn: stubborn / suite.override.length } },
    forgetting: {
      existence: await measureExistence(model, writer, suite.other.map(({ example, images }) => ({ id: example.id, scene: example.scenes[0]!, image: images[0]! }))),
      otherPolicies: await measured(context, suite.other.map((item) => ({ prompt: writer.prompt(item, true), score: (c) => scoreGtaItem(item, c).accuracy === 1 }))),
      textTask: await measureLookups(context, String(data.dataset.seed), suite.other.length),
    },
    unseenCells: sliceAccuracy(counted.map((o) => o.correct), test.map((t) => t.example.slice === 'unseenCell')),
  };
}

/** The version that the run's own rules give for an overriding example, where it is another. */
function oldVersion({ dataset: { policy } }: GtaRunData, { gold, tool, profile, scenes }: CompactGtaExample): string | undefined {
  if (tool === 'box') return undefined;
  const image = gold.arguments.image === undefined ? undefined : scenes[Number(gold.arguments.image.replace(/\D/g, '')) - 1];
  const found = resolveCompactGta(policy, tool, profile, image === undefined ? new Set() : sceneValues(image));
  return found === undefined || found.leaf.version === gold.version ? undefined : found.leaf.version;
}

export function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** Both ways of asking the test questions. */
export async function measureTest(context: AnswerContext, items: readonly TaskItem[], policyInPrompt: boolean) {
  const deployed = await measureAccuracy(context, items, false);
  const aware = await measureAccuracy(context, items, true);
  return {
    deployed: deployed.outcomes, aware: aware.outcomes, counted: (policyInPrompt ? aware : deployed).outcomes,
    report: {
      accuracy: { ...deployed.proportion, correct: deployed.outcomes.map((o) => o.correct) },
      policyInContext: { ...aware.proportion, correct: aware.outcomes.map((o) => o.correct) },
      promptTokens: deployed.promptTokens,
      promptTokensWithPolicy: aware.promptTokens,
      prefillMs: deployed.prefillMs,
      prefillMsWithPolicy: aware.prefillMs,
    },
  };
}

export async function measured(context: AnswerContext, questions: Parameters<typeof answerAll>[1]): Promise<Measured> {
  const { outcomes, ...share } = await answerAll(context, questions);
  return { ...share, correct: outcomes.map((o) => o.correct) };
}

async function measureOverride(context: SuiteContext, { items, queries }: SuiteData['override']['all']): Promise<Overridden> {
  let stubborn = 0;
  // The updated policy stands where the base learnt to find policies: in front of the image.
  const result = await measured(context, items.map(({ example, images, policyImages }) => ({
    prompt: context.writer.ask(images, queries[example.index % queries.length]!, { text: example.policyText, images: policyImages }),
    score: (completion) => {
      const score = scoreOverride(completion, example);
      stubborn += score.stubborn;
      return score.accuracy === 1;
    },
  })));
  return { ...result, stubborn: stubborn / items.length };
}

interface AskedScene {
  readonly id: string;
  readonly scene: SeenScene;
  readonly image: BatchImage;
}

function sceneAsked({ example, images }: RunItem<ClevrPolicyExample>): AskedScene {
  return { id: example.id, scene: example.scene, image: images[0]! };
}

/** Depth of the trees of lookup drills: both bases were drilled on it. */
const LOOKUP_DEPTH = 2;

/** Lookup drills, laid out as in pre-training: the entries of a policy in any order, then an id, whose entry is asked. */
function measureLookups(context: SuiteContext, seed: string, count: number): Promise<Measured> {
  const { writer, task } = context;
  return measured({ ...context, task: { ...task, stopIds: writer.ids(';') }, maxNewTokens: 4 }, Array.from({ length: count }, (_, index) => {
    const { policyText, pairs } = lookupDrill({ depth: LOOKUP_DEPTH, seed: `forgetting ${seed}`, index });
    const { id, content } = pairs[0]!;
    return { prompt: writer.ask([], `${policyText} ${id}`), score: (completion) => completion.split(';')[0]!.trim() === content };
  }));
}

/** Near-miss questions, four a scene, answered by the more probable of yes and no. */
async function measureExistence(model: VisionLanguageModel, writer: PromptWriter, scenes: readonly AskedScene[]): Promise<Measured> {
  const answers = ['yes', 'no'].map((w) => writer.ids(w));
  const correct: boolean[] = [];
  for (let i = 0; i < scenes.length; i += 16) {
    const asked = scenes.slice(i, i + 16).flatMap(({ id, scene, image }) => existenceQuestions(scene, { seed: `forgetting ${id}`, count: 4 }).map((q) => ({ q, sequence: writer.ask([image], q.question) })));
    const batch = packBatch(model.config, asked.map(({ sequence }) => ({ sequence, completions: answers })));
    const { logp } = await model.score(batch);
    const sums = asked.map(() => [0, 0]);
    batch.places.forEach(({ row, completion }, k) => (sums[row]![completion]! += logp[k]!));
    asked.forEach(({ q }, k) => correct.push((sums[k]![0]! > sums[k]![1]!) === (q.answer === 'yes')));
  }
  return { ...proportion(correct.filter(Boolean).length, correct.length), correct };
}
