import { TrainerError } from './errors.ts';

/**
 * Neighbours together until the next would exceed `maxTokens`: packing by a token budget, in order. What exceeds the
 * budget alone stands alone. Without a budget everything is one batch.
 * @returns for each micro-batch the indices into `tokens`.
 */
export function microBatches(tokens: readonly number[], maxTokens: number | undefined): number[][] {
  if (tokens.length === 0) return [];
  if (maxTokens === undefined) return [tokens.map((_, i) => i)];
  const out: number[][] = [];
  let room = 0;
  tokens.forEach((n, i) => {
    if (out.length === 0 || n > room) {
      out.push([]);
      room = maxTokens;
    }
    out[out.length - 1]!.push(i);
    room -= n;
  });
  return out;
}

export function checkBudget(name: string, value: number | undefined): void {
  if (value !== undefined && (!Number.isInteger(value) || value < 1)) throw new TrainerError('invalid-option', name, `is ${value}.`, 'Give a positive number of tokens, or leave it out for one batch.');
}
