import { EvalError } from './errors.ts';
import { proportion, type Proportion } from './interval.ts';

/** A model, as far as evaluation knows it: prompts in, completions out. */
export type Answerer<Prompt> = (prompts: readonly Prompt[]) => Promise<readonly string[]>;

export interface Outcome {
  readonly completion: string;
  readonly correct: boolean;
}

/**
 * Asks everything in batches and counts what is right.
 * @throws EvalError `invalid-input` for no items, a batch size that is no whole number from 1, and a wrong number of completions.
 */
export async function evaluate<Prompt>(
  items: readonly { readonly prompt: Prompt; readonly score: (completion: string) => boolean }[],
  answer: Answerer<Prompt>,
  options: { readonly batchSize?: number; readonly onProgress?: (done: number) => void } = {},
): Promise<Proportion & { readonly outcomes: readonly Outcome[] }> {
  const { batchSize = 64 } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) throw new EvalError('invalid-input', 'batchSize', `is ${batchSize}.`, 'Give a whole number of prompts, at least 1.');
  if (items.length === 0) throw new EvalError('invalid-input', 'items', 'is empty.', 'Give at least one question.');
  const outcomes: Outcome[] = [];
  for (let i = 0; i < items.length; i += batchSize) {
    const part = items.slice(i, i + batchSize);
    const completions = await answer(part.map((x) => x.prompt));
    if (completions.length !== part.length) throw new EvalError('invalid-input', 'answer', `gave ${completions.length} completions for ${part.length} prompts.`, 'Return one for each prompt, in order.');
    part.forEach((x, k) => outcomes.push({ completion: completions[k]!, correct: x.score(completions[k]!) }));
    options.onProgress?.(outcomes.length);
  }
  return { ...proportion(outcomes.filter((o) => o.correct).length, outcomes.length), outcomes };
}

/**
 * Accuracy of always giving the most frequent training answer of the same policy; a policy without training answers is never right.
 * @throws EvalError `invalid-input` for an empty test.
 */
export function majorityAccuracy(train: readonly { readonly policyId: string; readonly answer: string }[], test: readonly { readonly policyId: string; readonly answer: string }[]): number {
  if (test.length === 0) throw new EvalError('invalid-input', 'test', 'is empty.', 'Give at least one answer to compare with.');
  const counts = new Map<string, Map<string, number>>();
  for (const { policyId, answer } of train) {
    const own = counts.get(policyId) ?? new Map<string, number>();
    own.set(answer, (own.get(answer) ?? 0) + 1);
    counts.set(policyId, own);
  }
  const best = new Map([...counts].map(([id, own]) => [id, [...own].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0]![0]]));
  return test.filter((t) => best.get(t.policyId) === t.answer).length / test.length;
}
