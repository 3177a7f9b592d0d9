import type { Graph } from '../graph.ts';
import { rowsAndColumns, type Tensor } from '../tensor.ts';
import type { DecodeAttributes, SampleSettings } from './types.ts';

/** Columns of a row of the decoding state (i32 [R, STATE_WIDTH]). */
export const STATE = {
  /** The next input: the token last sampled, at first the last one of the prompt. */
  token: 0,
  /** How many tokens were sampled. */
  count: 1,
  finished: 2,
  /** Key ranges of the prompt in the cache: a shared prefix, then the rest but its last token. */
  sharedLow: 3,
  sharedHigh: 4,
  promptLow: 5,
  promptHigh: 6,
  /** Position (all axes) of the first sampled token. */
  nextPosition: 7,
  /** Cache row of the prompt's last token; those of sampled tokens follow. */
  base: 8,
  /** Which stream of random numbers this row draws from. */
  stream: 9,
  /** After how many tokens the row is full. */
  limit: 10,
  /** The key of its random numbers, two words. */
  keyLow: 11,
  keyHigh: 12,
} as const;
export const STATE_WIDTH = 13;

/** Numbers in a row of sampling settings (f32 [R, SETTINGS_WIDTH]). */
export const SETTINGS_WIDTH = 4;

/** A row of sampling settings: 1 / temperature (0: the most probable token), top-k (0: all), top-p, min-p. */
export function sampleSettings({ temperature, topK, topP, minP }: SampleSettings): [number, number, number, number] {
  return [temperature === 0 ? 0 : 1 / temperature, topK, topP, minP];
}

/** Probabilities that differ by less than this part count as equal: a compiler may round the exponential of one loop otherwise than that of another. */
export const ALIKE = 1e-6;

export interface Sampled {
  readonly token: Tensor;
  readonly logp: Tensor;
  readonly entropy: Tensor;
}

/**
 * One token a row from softmax(logits / temperature), by the settings of its row and in the order of Hugging Face's
 * `generate`: top-k keeps the k most probable tokens and those as probable as the last of them; top-p the most probable of
 * these that make up this share of their probability, and those as probable as the last; min-p those from this share of the
 * largest probability on. Log-probability and entropy are those of the full distribution at that temperature. The uniform
 * number is Philox4x32-10 of `draws` u32 [R, 4]: two words of counter, two of key.
 */
export function sample(logits: Tensor, draws: Tensor, settings: Tensor): Sampled {
  const [r] = rowsAndColumns(logits);
  const [token, logp, entropy] = logits.graph.emit('sample', [logits, draws, settings], {}, [
    { shape: [r], dtype: 'i32', name: 'token' },
    { shape: [r], name: 'logp' },
    { shape: [r], name: 'entropy' },
  ]);
  return { token: token!, logp: logp!, entropy: entropy! };
}

/** Words of 32 bits that say of each token of a vocabulary whether it was seen. */
export function seenWords(vocabulary: number): number {
  return Math.ceil(vocabulary / 32);
}

/**
 * Logits [R, V] with those of seen tokens made less: divided by the penalty of the row, or multiplied by it where they are
 * negative (CTRL, arXiv 1909.05858, as in Hugging Face's `repetition_penalty`). A row of penalty 1 stays as it is.
 * @param seen u32 [R, seenWords(V)], bit t % 32 of word t / 32 for token t.
 * @param penalties f32 [R].
 */
export function penaliseSeen(logits: Tensor, seen: Tensor, penalties: Tensor): Tensor {
  return logits.graph.emit('penaliseSeen', [logits, seen, penalties], {}, [{ shape: logits.shape, name: 'penalised' }])[0]!;
}

/** Notes a token i32 [R] of each row among the seen ones. */
export function markSeen(token: Tensor, seen: Tensor): void {
  token.graph.emitInto('markSeen', [token], {}, [seen]);
}

export interface DecodeBuffers {
  readonly state: Tensor;
  /** i32 [C], with an entry for each row of the cache: token i of a row is at its base + i. */
  readonly history: Tensor;
  /** f32 [C, 2]: log-probability and entropy of each sampled token. */
  readonly trace: Tensor;
}

/** Takes the sampled tokens into state and history; a row that has stopped or is full is left alone. */
export function decodeAdvance(sampled: Sampled, buffers: DecodeBuffers, attributes: DecodeAttributes): void {
  sampled.token.graph.emitInto('decodeAdvance', [sampled.token, sampled.logp, sampled.entropy], attributes, [buffers.state, buffers.history, buffers.trace]);
}

export interface DecodeInputs {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly ranges: Tensor;
  /** Where keys and values of this token go; -1 for a finished row. */
  readonly cacheRows: Tensor;
  /** What `sample` draws from. */
  readonly draws: Tensor;
}

/** What the next decoding step needs, computed from the state on the device. */
export function decodeInputs(graph: Graph, state: Tensor): DecodeInputs {
  const [r] = rowsAndColumns(state);
  const [ids, positions, ranges, cacheRows, draws] = graph.emit('decodeInputs', [state], { rows: r }, [
    { shape: [r], dtype: 'i32', name: 'ids' },
    { shape: [3, r], dtype: 'i32', name: 'positions' },
    { shape: [r, 6], dtype: 'u32', name: 'ranges' },
    { shape: [r], dtype: 'i32', name: 'cacheRows' },
    { shape: [r, 4], dtype: 'u32', name: 'draws' },
  ]);
  return { ids: ids!, positions: positions!, ranges: ranges!, cacheRows: cacheRows!, draws: draws! };
}
