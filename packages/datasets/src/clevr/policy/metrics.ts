/** @file What a response says about the policy: conditions it cites, where it first goes wrong, branching error, referral. */
import { parseResponse } from '../../core/answer.ts';
import { filterWords, type AttributeValue, COLORS, MATERIALS, SHAPES, SIZES } from '../attributes.ts';
import type { DecisionNode, PolicyTree } from './types.ts';

const CITED = /\bCondition (1(?:\.[12])*)(?![\d.]*\d)/g;
const COMPACT_ID = /(?:^|\s)(1(?:\.[12])*)(?=\s|$)/g;

/** Ids of conditions that a reasoning visits, in order, each once; in compact text, every id word (leaves included). */
export function citedConditions(reasoning: string): string[] {
  const prose = [...reasoning.matchAll(CITED)].map((match) => match[1] as string);
  const ids = prose.length > 0 ? prose : [...reasoning.matchAll(COMPACT_ID)].map((match) => match[1] as string);
  return [...new Set(ids)];
}

/** The first step (0 = root) at which a response leaves the right path of decision nodes; undefined when it never does. */
export function firstWrongNode(completion: string, path: readonly string[]): number | undefined {
  const { reasoning } = parseResponse(completion);
  const cited = citedConditions(reasoning ?? '');
  const wrong = path.findIndex((id, i) => cited[i] !== id);
  if (wrong !== -1) return wrong;
  const extra = cited[path.length];
  // A leaf's id may follow the last condition in compact text; anything else is one condition too many.
  return extra === undefined || path.length === 0 || extra.startsWith(`${path[path.length - 1] as string}.`) ? undefined : path.length;
}

export interface BranchingError {
  /** For each id: in how many responses, and in how many references, it is cited. */
  readonly histogram: readonly { readonly id: string; readonly predicted: number; readonly gold: number }[];
  /** The paper's figure: mean over ids of |predicted - gold|. It counts references, so it grows with the responses: the paper's are of 2,000. */
  readonly averageAbsoluteDifference: number;
}

function countCited(texts: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) for (const id of citedConditions(parseResponse(text).reasoning ?? text)) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

/** Compares the condition ids that responses cite with those that the reference reasoning cites. */
export function branchingError(predictions: readonly string[], golds: readonly string[]): BranchingError {
  const predicted = countCited(predictions);
  const gold = countCited(golds);
  const histogram = [...new Set([...predicted.keys(), ...gold.keys()])]
    .toSorted()
    .map((id) => ({ id, predicted: predicted.get(id) ?? 0, gold: gold.get(id) ?? 0 }));
  const sum = histogram.reduce((total, row) => total + Math.abs(row.predicted - row.gold), 0);
  return { histogram, averageAbsoluteDifference: histogram.length === 0 ? 0 : sum / histogram.length };
}

/** Share of cited conditions that the policy does not have (0 when none is cited). */
export function branchingErrorRate(reasoning: string, tree: Pick<PolicyTree, 'nodes' | 'leaves'>): number {
  const known = new Set([...tree.nodes, ...tree.leaves].map((node) => node.id));
  const cited = citedConditions(reasoning);
  return cited.length === 0 ? 0 : cited.filter((id) => !known.has(id)).length / cited.length;
}

/** F1 of the set of cited conditions against the right path. */
export function pathF1(reasoning: string, path: readonly string[]): number {
  const cited = citedConditions(reasoning);
  const both = cited.filter((id) => path.includes(id)).length;
  return cited.length + path.length === 0 ? 1 : (2 * both) / (cited.length + path.length);
}

const WORDS: Readonly<Record<string, AttributeValue>> = {
  ...Object.fromEntries([...SIZES, ...COLORS, ...MATERIALS, ...SHAPES].map((value) => [value, value])),
  ball: 'sphere', block: 'cube', big: 'large', tiny: 'small', metallic: 'metal', shiny: 'metal', matte: 'rubber', grey: 'gray',
};

function attributeWords(text: string): string[] {
  const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
  return [...new Set(words.flatMap((word) => WORDS[word] ?? WORDS[word.replace(/s$/, '')] ?? []))].toSorted();
}

/** What was checked of a reasoning's statements about the policy. */
export interface ReferralScore {
  /** 10 times correct / cited; 0 when nothing is cited. */
  readonly score: number;
  readonly correct: number;
  readonly cited: number;
}

/**
 * The paper's referral score without a judge. A statement is a condition with what it is said to check, or a place where
 * an outcome is said to lead; each is compared with the policy. Pass `judge` results instead where a model is at hand.
 */
export function scoreReferral(reasoning: string, tree: PolicyTree): ReferralScore {
  let correct = 0;
  let cited = 0;
  const judge = (right: boolean): void => {
    cited++;
    if (right) correct++;
  };
  const nodes = new Map(tree.nodes.map((node) => [node.id, node]));
  for (const line of reasoning.split('\n')) {
    const statement = /^\W*Condition (1(?:\.[12])*)\s*[:(]?\s*([^.)\n]*)/.exec(line);
    if (!statement) continue;
    const node = nodes.get(statement[1] as string);
    judge(node !== undefined && says(node, statement[2] as string));
    const goal = /(?:continue to|go to|move to) Condition (1(?:\.[12])*)/i.exec(line.slice(statement[0].length));
    if (goal) judge(node !== undefined && [node.yes, node.no].some((child) => child.kind === 'decision' && child.id === goal[1]));
    const answer = /respond with "?Case (\d+)/i.exec(line.slice(statement[0].length));
    if (answer) judge(node !== undefined && [node.yes, node.no].some((child) => child.kind === 'leaf' && child.case === Number(answer[1])));
  }
  return { score: cited === 0 ? 0 : (10 * correct) / cited, correct, cited };
}

function says(node: DecisionNode, text: string): boolean {
  const { condition } = node;
  const said = attributeWords(text).join(' ');
  switch (condition.kind) {
    case 'exist':
    case 'count':
    case 'even':
    case 'pair':
    case 'all':
      return said === filterWords(condition.filter).toSorted().join(' ');
    case 'more':
    case 'relation':
      return said === [...new Set([...filterWords(condition.a), ...filterWords(condition.b)])].toSorted().join(' ');
    case 'extreme':
      return said === condition.value;
    case 'same':
      return text.includes(condition.attribute);
    default:
      return condition satisfies never;
  }
}
