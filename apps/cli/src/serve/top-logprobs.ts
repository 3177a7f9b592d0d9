/** @file The most probable tokens at every place of a completion: one more forward pass, which sampling does not pay for otherwise. */
import { packBatch, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import type { ScoredToken, TopTokens } from './choice.ts';

/** Logits that are read back at once, bytes. */
const MAX_BYTES = 2 ** 26;

export interface TopLogprobsOptions {
  readonly count: number;
  readonly temperature: number;
  readonly repetitionPenalty: number;
  readonly adapter: string | undefined;
}

/**
 * Log-probabilities under the full distribution after the repetition penalty, at the sampling temperature (at 1 for greedy
 * sampling), as the generator gives those of the chosen tokens.
 */
export async function topLogprobs(model: VisionLanguageModel, prompt: TokenSequence, tokens: readonly number[], { count, temperature, repetitionPenalty, adapter }: TopLogprobsOptions): Promise<TopTokens[]> {
  const vocab = model.config.vocabSize;
  const perPass = Math.max(1, Math.floor(MAX_BYTES / (4 * vocab)));
  const found: TopTokens[] = [];
  const seen = new Set(Array.from(prompt.inputIds));
  for (let from = 0; from < tokens.length; from += perPass) {
    const until = Math.min(tokens.length, from + perPass);
    const sequence = continued(prompt, tokens.slice(0, until));
    const first = prompt.inputIds.length + from;
    const batch = packBatch(model.config, [{ sequence, predict: Array.from({ length: sequence.inputIds.length }, (_, i) => (i >= first ? 1 : 0)) }]);
    const { logits } = await model.inspect(batch, ['logits'], adapter === undefined ? {} : { adapter });
    for (let i = 0; i < until - from; i++) {
      const row = logits!.subarray(i * vocab, (i + 1) * vocab);
      if (repetitionPenalty !== 1) for (const id of seen) row[id] = row[id]! < 0 ? row[id]! * repetitionPenalty : row[id]! / repetitionPenalty;
      found.push(topOf(row, count, temperature === 0 ? 1 : temperature));
      seen.add(tokens[from + i]!);
    }
  }
  return found;
}

/** A prompt with generated tokens behind it, whose positions go on from its largest one on all axes. */
function continued({ inputIds, positionIds, images }: TokenSequence, tokens: readonly number[]): TokenSequence {
  const n = inputIds.length;
  const next = Array.from(positionIds).reduce((a, b) => Math.max(a, b), -1) + 1;
  const axes = [0, 1, 2].flatMap((axis) => [...Array.from({ length: n }, (_, i) => positionIds[axis * n + i]!), ...tokens.map((_, i) => next + i)]);
  return { inputIds: [...Array.from(inputIds), ...tokens], positionIds: axes, images };
}

function topOf(logits: Float32Array, count: number, temperature: number): ScoredToken[] {
  const top: ScoredToken[] = [];
  let most = -Infinity;
  for (const x of logits) most = Math.max(most, x);
  let sum = 0;
  logits.forEach((x, id) => {
    sum += Math.exp((x - most) / temperature);
    if (top.length === count && x <= top.at(-1)!.logp) return;
    const at = top.findIndex((t) => x > t.logp);
    top.splice(at < 0 ? top.length : at, 0, { id, logp: x });
    if (top.length > count) top.pop();
  });
  return top.map(({ id, logp }) => ({ id, logp: (logp - most) / temperature - Math.log(sum) }));
}
