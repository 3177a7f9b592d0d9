import { citedConditions, type PolicyTree } from '@trimpi/datasets';

/** What was checked of a reasoning's statements about the policy, as `ReferralScore` of `@trimpi/datasets`. */
export interface CompactReferral {
  /** 10 times correct / cited; 0 when nothing is cited. */
  readonly score: number;
  readonly correct: number;
  readonly cited: number;
}

const ATTRIBUTE_ORDER = ['size', 'color', 'material', 'shape'] as const;

/**
 * The paper's referral score for compact reasoning (`1 ask sphere ? yes 1.1 ask metal sphere ? no 1.1.2`), without a judge:
 * a statement is an id with what it is said to ask (right when the policy's condition of this id asks exactly that), or
 * an id without a question (right when it is a leaf of the policy).
 */
export function compactReferral(completion: string, tree: Pick<PolicyTree, 'nodes' | 'leaves'>): CompactReferral {
  const words = completion.split(/\s+/);
  const asked = new Map(tree.nodes.map(({ id, condition }) => [id, condition.kind === 'exist' ? ATTRIBUTE_ORDER.flatMap((a) => condition.filter[a] ?? []).toSorted().join(' ') : undefined]));
  const leaves = new Set(tree.leaves.map((leaf) => leaf.id));
  let correct = 0;
  let cited = 0;
  words.forEach((word, i) => {
    if (citedConditions(word)[0] !== word) return;
    cited++;
    if (words[i + 1] !== 'ask') {
      if (leaves.has(word)) correct++;
      return;
    }
    const end = words.indexOf('?', i);
    if (asked.get(word) === words.slice(i + 2, end < 0 ? words.length : end).toSorted().join(' ')) correct++;
  });
  return { score: cited === 0 ? 0 : (10 * correct) / cited, correct, cited };
}
