/**
 * @file Updates of a policy in context: a new tree under the same name, whole or in part, with questions whose answer
 * changes (and, on request, controls whose answer must not).
 */
import { DatasetError, requireInteger, requireOneOf } from '../../core/error.ts';
import { interleave, type Part, type Split } from '../../core/example.ts';
import { hashKeys, randomStream, type StreamKey } from '../../core/random.ts';
import { parseResponse } from '../../core/answer.ts';
import type { ClevrPolicyConfig } from './config.ts';
import { clevrPolicy, makeExample, sceneForPolicy, type ClevrPolicyDataset, type ClevrPolicyExample } from './dataset.ts';
import { evaluateTree } from './evaluate.ts';
import { conditionPhrase } from './phrases.ts';
import { policyFromTree, type ClevrPolicy } from './policy.ts';
import { sampleTree, regrowSubtree } from './tree.ts';
import type { DecisionNode, PolicyTree } from './types.ts';

export interface ClevrOverrideOptions {
  /** `all`: a new tree; `part`: one condition and everything below it. */
  readonly kind?: 'all' | 'part';
  readonly seed?: StreamKey;
  /** Share of items whose answer is the same before and after; 0 by default. */
  readonly controls?: number;
}

export interface ClevrOverrideExample extends ClevrPolicyExample {
  /** The answer of the policy before the update. */
  readonly oldAnswer: string;
  /** Whether the update changes the answer (false only for controls). */
  readonly changed: boolean;
  /** The query with the images of an updated variant M policy in place. */
  readonly queryParts: readonly Part[];
}

export interface ClevrOverrideDataset {
  readonly base: ClevrPolicyDataset;
  /** The updated policies, in the order of `base.policies`. */
  readonly policies: readonly ClevrPolicy[];
  readonly size: ClevrPolicyDataset['size'];
  example(split: Split, index: number): ClevrOverrideExample;
}

function updatedTree(old: ClevrPolicy, kind: 'all' | 'part', seed: StreamKey): PolicyTree {
  if (kind === 'all') return sampleTree({ depth: old.tree.depth, seed, mode: old.tree.mode, semantics: old.tree.semantics });
  const below = old.tree.nodes.filter((node) => node.id !== '1' && old.reachable.some((i) => old.tree.leaves[i]?.id.startsWith(`${node.id}.`)));
  const node: DecisionNode | undefined = below[randomStream(seed, 'part').int(below.length)];
  if (node === undefined) throw new DatasetError('invalidArgument', 'kind is "part"; use trees of depth 2 or more, or kind "all".');
  return regrowSubtree(old.tree, node.id, seed);
}

const ATTEMPTS = 2000;

/** The paper's policy override for a ClevrPolicy dataset. Its scenes are shared with neither split of the dataset. */
export function clevrOverride(config: ClevrPolicyConfig, options: ClevrOverrideOptions = {}): ClevrOverrideDataset {
  const kind = requireOneOf('kind', options.kind ?? 'all', ['all', 'part']);
  const controls = options.controls ?? 0;
  if (!(controls >= 0 && controls <= 1)) throw new DatasetError('invalidArgument', `controls is ${controls}; pass a share from 0 to 1.`);
  const base = clevrPolicy(config);
  const seed = options.seed ?? 'override';
  const policies = base.policies.map((old) => policyFromTree(old.id, old.name, updatedTree(old, kind, `${seed}/${old.id}`), `${seed}/${old.id}`, base.config));
  const example = (split: Split, index: number): ClevrOverrideExample => {
    requireInteger('index', index, 0, base.size(split) - 1);
    const which = index % policies.length;
    const policy = policies[which] as ClevrPolicy;
    const old = base.policies[which] as ClevrPolicy;
    const control = hashKeys([seed, 'control', split, index]) / 4294967296 < controls;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const round = Math.floor(index / policies.length) + attempt;
      const { scene, result } = sceneForPolicy(policy, base.config, `override-${split}-${attempt}`, index, round);
      const before = makeExample(old, base.config, split, index, scene, evaluateTree(old.tree, scene));
      const after = makeExample(policy, base.config, split, index, scene, result);
      if ((before.answer === after.answer) !== control) continue;
      const query = overrideQuery(policy, base.config.style);
      return Object.defineProperties({}, {
        ...Object.getOwnPropertyDescriptors(after),
        ...Object.getOwnPropertyDescriptors({
          id: `clevr-override-${split}-${index}`,
          query,
          queryParts: interleave(query, policy.images),
          oldAnswer: before.answer,
          changed: !control,
        }),
      }) as ClevrOverrideExample;
    }
    throw new DatasetError('unsatisfiable', `no scene for ${split}/${index} was found whose answer ${control ? 'stays' : 'changes'}; use kind "all" or another seed.`);
  };
  return { base, policies, size: base.size, example };
}

function overrideQuery(policy: ClevrPolicy, style: 'canonical' | 'compact'): string {
  if (style === 'compact') return `${policy.text} ${policy.query}`;
  const body = policy.text.slice(policy.text.indexOf('--- Policy:'));
  return `Suppose we have an updated Policy: ${policy.name} as follows:\n${body}\nAccording to the updated Policy: ${policy.name}, what should be the response for the given image?`;
}

/** Whether a completion gives the new answer, or stubbornly the old one. */
export function scoreOverride(completion: string, example: Pick<ClevrOverrideExample, 'answer' | 'oldAnswer' | 'changed'>): { accuracy: 0 | 1; stubborn: 0 | 1 } {
  const { answer } = parseResponse(completion);
  return { accuracy: answer === example.answer ? 1 : 0, stubborn: example.changed && answer === example.oldAnswer ? 1 : 0 };
}

/** A question about the policy itself, answered from memory. */
export interface PolicyQuestion {
  readonly question: string;
  readonly answer: string;
  readonly nodeId: string;
}

const leads = (child: DecisionNode['yes']): string => (child.kind === 'leaf' ? `Case ${child.case}` : `Condition ${child.id}`);

/** All direct questions about a policy: what each condition checks (`phrase` words it), and where yes and no lead. */
export function policyQuestions(
  policy: Pick<ClevrPolicy, 'name' | 'tree'>, phrase: (node: DecisionNode) => string = (node) => conditionPhrase(node.condition),
): PolicyQuestion[] {
  return policy.tree.nodes.flatMap((node) => {
    return [
      { nodeId: node.id, question: `In Policy: ${policy.name}, what does Condition ${node.id} check?`, answer: phrase(node) },
      { nodeId: node.id, question: `In Policy: ${policy.name}, where does a yes at Condition ${node.id} lead?`, answer: leads(node.yes) },
      { nodeId: node.id, question: `In Policy: ${policy.name}, where does a no at Condition ${node.id} lead?`, answer: leads(node.no) },
    ];
  });
}
