/** @file The document of a policy, in the paper's form: general instruction, name, sections `# Condition 1.1`. */
import { conditionPhrase } from './phrases.ts';
import { caseAnswer, type PolicyTree, type TreeNode } from './types.ts';

export const GENERAL_INSTRUCTION =
  'You are an assistant that responds to images according to a policy. Start at Condition 1, check each condition against the image, ' +
  'and continue to the condition that its outcome names until a response is given. ' +
  'Conditions that follow a "yes" speak about the same object.';

const INDEPENDENT_INSTRUCTION =
  'You are an assistant that responds to images according to a policy. Start at Condition 1, check each condition against the image, ' +
  'and continue to the condition that its outcome names until a response is given.';

function target(node: TreeNode): string {
  return node.kind === 'leaf' ? `respond with "${caseAnswer(node)}"` : `continue to Condition ${node.id}`;
}

/** The sections alone, between the `--- Policy` lines. */
export function policyBody(tree: PolicyTree, name: string, phrases?: ReadonlyMap<string, string>): string {
  const sections = tree.nodes.map(
    (node) =>
      `# Condition ${node.id}: Check if ${phrases?.get(node.id) ?? conditionPhrase(node.condition)}.\n- If yes, ${target(node.yes)}.\n- If no, ${target(node.no)}.`,
  );
  return `--- Policy: ${name} ---\n${sections.join('\n')}\n---`;
}

/** The whole policy text; `phrases` replaces the wording of the conditions it names by id. */
export function policyText(tree: PolicyTree, name: string, phrases?: ReadonlyMap<string, string>): string {
  return `${tree.semantics === 'refine' ? GENERAL_INSTRUCTION : INDEPENDENT_INSTRUCTION}\n\n${policyBody(tree, name, phrases)}`;
}

/** The paper's question, which names the policy and nothing else of it. */
export function policyQuery(name: string): string {
  return `According to Policy: ${name}, what should be the response for the given image?`;
}
