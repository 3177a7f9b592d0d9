/** @file Other wordings of a policy and of its question: for continued pre-training, and for questions that no split shares. */
import type { Split } from '../../core/example.ts';
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';
import { conditionPhrase } from './phrases.ts';
import { caseAnswer, type DecisionNode, type PolicyTree, type TreeNode } from './types.ts';

const VERBS = ['Check if', 'See whether', 'Determine whether', 'Find out if', 'Verify whether', 'Look whether'] as const;

const FRAMES: readonly (readonly [string, string])[] = [
  ['- If yes, ', '- If no, '],
  ['- If so, ', '- Otherwise, '],
  ['- When this holds, ', '- When it does not, '],
  ['- Yes: ', '- No: '],
  ['- In that case, ', '- If not, '],
];

/** CLEVR's synonyms, by whole word. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  sphere: ['ball'], spheres: ['balls'], cube: ['block'], cubes: ['blocks'], object: ['thing'], objects: ['things'],
  large: ['big'], small: ['tiny'], metal: ['metallic', 'shiny'], rubber: ['matte'],
};

const QUERIES: Readonly<Record<Split, readonly string[]>> = {
  train: [
    'According to Policy: {name}, what should be the response for the given image?',
    'Apply Policy: {name} to this image. What is the response?',
    'What does Policy: {name} say about this image?',
    'Under Policy: {name}, which response does the image call for?',
    'Give the response that Policy: {name} prescribes for the image.',
    'Which case applies to this image by Policy: {name}?',
  ],
  test: [
    'Follow Policy: {name}: how must you respond to the image shown?',
    'For the image above, state the outcome of Policy: {name}.',
  ],
};

function say(text: string, random: Random): string {
  return text.replace(/[a-z]+/g, (word) => {
    const others = SYNONYMS[word];
    return others !== undefined && random.chance(0.5) ? random.pick(others) : word;
  });
}

/** A question for a split; no wording is used in both. */
export function paraphrasedQuery(name: string, split: Split, random: Random): string {
  return random.pick(QUERIES[split]).replace('{name}', name);
}

function ordered(tree: PolicyTree, random: Random): readonly DecisionNode[] {
  const order = random.int(3);
  if (order === 0) return tree.nodes;
  if (order === 1) return tree.nodes.toSorted((a, b) => a.id.length - b.id.length || (a.id < b.id ? -1 : 1));
  return random.shuffle(tree.nodes);
}

/** The same policy in other words: verbs, frames, CLEVR's synonyms, and the order of the sections, by seed. */
export function paraphrasePolicy(policy: { readonly name: string; readonly tree: PolicyTree }, seed: StreamKey): string {
  const random = randomStream(seed, 'paraphrase');
  const verb = random.pick(VERBS);
  const [yes, no] = random.pick(FRAMES);
  const goal = (node: TreeNode): string =>
    node.kind === 'leaf' ? `${random.pick(['respond with', 'answer', 'the response is'])} "${caseAnswer(node)}"` : `continue to Condition ${node.id}`;
  const sections = ordered(policy.tree, random).map(
    (node) => `# Condition ${node.id}: ${verb} ${say(conditionPhrase(node.condition), random)}.\n${yes}${goal(node.yes)}.\n${no}${goal(node.no)}.`,
  );
  const shared = policy.tree.semantics === 'refine' ? ' Conditions below a yes speak about the same object.' : '';
  return `The following is Policy: ${policy.name}. Begin with Condition 1 and follow the outcomes.${shared}\n\n--- Policy: ${policy.name} ---\n${sections.join('\n')}\n---`;
}
