/** @file The paper's referral score by a model: the prompt, and the reading of its verdict. `scoreReferral` needs no model. */

const INSTRUCTION =
  'Below are a policy and the reasoning of an agent that could not see it. Judge only whether the rules that the reasoning refers to are those ' +
  'of the policy: 10 when every reference is accurate, 0 when none is or nothing is cited. Reply with one integer from 0 to 10 in \\boxed{}.';

/** What to ask the judge. */
export function referralPrompt(policyText: string, reasoning: string): string {
  return `${INSTRUCTION}\n\n### Policy ###\n${policyText}\n\n### Reasoning ###\n${reasoning}`;
}

/** The judge's score from 0 to 10, or undefined when its reply holds none. */
export function readJudgeScore(reply: string): number | undefined {
  const boxed = [...reply.matchAll(/\\boxed\{\s*(\d{1,2}(?:\.\d+)?)\s*\}/g)];
  const value = boxed.length === 1 ? Number(boxed[0]?.[1]) : Number.NaN;
  return value >= 0 && value <= 10 ? value : undefined;
}

/** The mean judged score over pairs of policy and reasoning; replies without a score count as 0. */
export async function judgeReferral(
  items: readonly { readonly policyText: string; readonly reasoning: string }[], judge: (prompt: string) => Promise<string>,
): Promise<number> {
  let sum = 0;
  for (const { policyText, reasoning } of items) sum += readJudgeScore(await judge(referralPrompt(policyText, reasoning))) ?? 0;
  return items.length === 0 ? 0 : sum / items.length;
}
