import { parseResponse } from '../../core/answer.ts';

/** Both rewards of the paper, 0 or 1 each; how they are weighted is the trainer's matter. */
export interface ClevrPolicyScore {
  readonly accuracy: 0 | 1;
  readonly format: 0 | 1;
}

const normalise = (text: string): string => text.trim().replace(/\s+/g, ' ');

/**
 * Accuracy: the only box outside the thinking holds exactly the answer (up to white space); two boxes, a box in the
 * thinking alone, or an unfinished one score 0. Format: `<think>...</think>` first, then exactly one box, then nothing.
 */
export function scoreClevrPolicy(completion: string, answer: string): ClevrPolicyScore {
  const parsed = parseResponse(completion);
  return {
    accuracy: parsed.answer !== undefined && normalise(parsed.answer) === normalise(answer) ? 1 : 0,
    format: parsed.wellFormed ? 1 : 0,
  };
}
