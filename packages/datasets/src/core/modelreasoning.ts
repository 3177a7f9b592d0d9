/** @file Reasoning written by a model, kept or dropped as in the paper. */
import { parseResponse } from './answer.ts';
import { exampleParts, type Example, type Part } from './example.ts';

export interface ModelReasoningOptions {
  /** `forward`: policy and question in, kept only if the answer comes out right; `reverse`: the answer is given, all is kept. */
  readonly strategy: 'forward' | 'reverse';
  /** Writes a completion for a prompt of text and images. */
  readonly generate: (prompt: readonly Part[]) => Promise<string>;
  /** Whether an answer is right; equality by default. */
  readonly isCorrect?: (answer: string, example: Example) => boolean;
}

const FORWARD = 'Reason step by step through the policy inside <think> </think>, then give the final answer in \\boxed{}.';
const REVERSE = 'Explain inside <think> </think>, citing the policy, why this is the right answer, then repeat it in \\boxed{}. The right answer is: ';

/** Yields the examples for which reasoning was obtained, with it. */
export async function* modelReasoning(
  examples: Iterable<Example>, options: ModelReasoningOptions,
): AsyncGenerator<{ readonly example: Example; readonly reasoning: string }> {
  const isCorrect = options.isCorrect ?? ((answer: string, example: Example) => answer === example.answer);
  for (const example of examples) {
    const prompt: Part[] = [
      ...exampleParts(example, { policy: true, response: false }),
      { type: 'text', text: `\n${options.strategy === 'forward' ? FORWARD : REVERSE + example.answer}` },
    ];
    const parsed = parseResponse(await options.generate(prompt));
    if (parsed.reasoning === undefined) continue;
    if (options.strategy === 'forward' && (parsed.answer === undefined || !isCorrect(parsed.answer, example))) continue;
    yield { example, reasoning: parsed.reasoning.trim() };
  }
}
