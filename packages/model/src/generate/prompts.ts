/** @file Prompts as they are read together: all of each but its last token, and what all begin with once. */
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { checkSequence, type PackedBatch, packBatch, sharedPrefix, type TokenSequence } from '../vl/batch.ts';

export interface PromptLayout {
  readonly prompts: readonly TokenSequence[];
  /** Tokens that all begin with, which are read once. */
  readonly prefix: number;
  /** Tokens of each prompt that are read for itself: without prefix and last token, which is the first one that decoding takes in. */
  readonly own: readonly number[];
  /** Prefix and own parts one behind the other; undefined when there is nothing to read. */
  readonly batch: PackedBatch | undefined;
  /** Tokens of `batch`. */
  readonly tokens: number;
}

/** Shorter common beginnings are read with each prompt. */
const SHORTEST_SHARED = 8;

/** @throws ModelError `invalid-input` for no prompts, an empty one, tokens or positions that are none, or images that do not fit to their tokens. */
export function layOutPrompts(config: ModelConfig, prompts: readonly TokenSequence[], sharePrefix = true): PromptLayout {
  if (prompts.length === 0) throw new ModelError('invalid-input', { argument: 'prompts', value: 0, message: 'is empty', remedy: 'Give at least one prompt.' });
  const empty = prompts.findIndex((p) => p.inputIds.length === 0);
  if (empty >= 0) throw new ModelError('invalid-input', { argument: `prompts[${empty}].inputIds`, value: 0, message: 'is empty', remedy: 'A prompt needs at least one token.' });
  prompts.forEach((prompt, i) => checkSequence(config, prompt, `prompts[${i}]`));
  const common = sharePrefix ? sharedPrefix(config, prompts) : 0;
  const prefix = common >= SHORTEST_SHARED ? common : 0;
  const heads = prompts.map(withoutLast);
  const read = heads.filter((head) => head.inputIds.length > 0);
  const batch = read.length === 0 ? undefined : packBatch(config, read.map((sequence) => ({ sequence, predict: new Uint8Array(sequence.inputIds.length) })), { prefix });
  return { prompts, prefix, own: heads.map((head) => Math.max(0, head.inputIds.length - prefix)), batch, tokens: batch?.tokens ?? 0 };
}

function withoutLast({ inputIds, positionIds, images }: TokenSequence): TokenSequence {
  const n = inputIds.length;
  const cut = (values: ArrayLike<number>, from: number) => Array.from({ length: n - 1 }, (_, i) => values[from + i]!);
  return { inputIds: cut(inputIds, 0), positionIds: [0, 1, 2].flatMap((axis) => cut(positionIds, axis * n)), images };
}
