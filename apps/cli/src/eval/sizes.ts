/** @file What an evaluation needs room for. */
import type { ModelConfig } from '@trimpi/model';
import { UsageError } from '../errors.ts';
import { DEFAULT_POSITIONS, type SamplingSizes } from '../model/load.ts';
import type { Question } from './questions.ts';

/** Prompts that are looked at, besides one of each policy. */
const LOOKED_AT = 32;

export interface Asked {
  /** Questions at once. */
  readonly batch: number;
  readonly maxNewTokens: number;
  /** Of the checkpoint. */
  readonly config: Pick<ModelConfig, 'imageTokenId' | 'maxPositionEmbeddings'>;
}

/**
 * Room for a batch of questions as long as the longest, and positions for each. Reading all prompts would take as long as
 * asking: looked at are some, and of each policy the question with the longest text; the others have as many positions
 * more as the longest text has bytes.
 * @throws UsageError for a prompt that leaves no room for its answer in the checkpoint's positions.
 */
export async function questionSizes(questions: readonly Question[], { batch, maxNewTokens, config }: Asked): Promise<SamplingSizes> {
  const rows = Math.max(1, Math.min(batch, questions.length));
  const most = config.maxPositionEmbeddings;
  let longest = 1;
  let shared: readonly number[] | undefined;
  for (const question of lookedAt(questions)) {
    const { inputIds, positionIds } = await question.prompt();
    const ids = Array.from(inputIds);
    const last = Array.from(positionIds).reduce((a, b) => Math.max(a, b), 0) + maxNewTokens;
    if (last > most) throw new UsageError(`The prompt of question ${question.id} has ${ids.length} tokens and --max-new-tokens is ${maxNewTokens}: that leads to position ${last} of the ${most} that the checkpoint has (max_position_embeddings). Shorten the policy, leave --with-policy out, or ask for fewer tokens.`);
    longest = Math.max(longest, ids.length);
    shared = ids.slice(0, sharedLength(ids, shared ?? ids, config.imageTokenId));
  }
  // What all begin with is read once: the policy, where there is one for all.
  const readTokens = (shared?.length ?? 0) + rows * (longest - (shared?.length ?? 0));
  const text = questions.reduce((bytes, { query }) => Math.max(bytes, Buffer.byteLength(query)), 0);
  return { rows, readTokens, tokens: readTokens + rows * maxNewTokens, positions: Math.min(most, Math.max(DEFAULT_POSITIONS, longest + text + maxNewTokens)) };
}

function lookedAt(questions: readonly Question[]): ReadonlySet<Question> {
  const longest = new Map<string, Question>();
  for (const question of questions) if (question.query.length > (longest.get(question.policyId)?.query.length ?? -1)) longest.set(question.policyId, question);
  const every = Math.ceil(questions.length / LOOKED_AT);
  return new Set([...questions.filter((_, i) => i % every === 0), ...longest.values()]);
}

/** Tokens that both begin with, up to the first picture. */
function sharedLength(a: readonly number[], b: readonly number[], imageTokenId: number): number {
  const end = a.findIndex((id, i) => id !== b[i] || id === imageTokenId);
  return end < 0 ? a.length : end;
}
