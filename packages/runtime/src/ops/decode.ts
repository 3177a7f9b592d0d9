import type { Graph } from '../graph.ts';
import { rowsAndColumns, type Tensor } from '../tensor.ts';
import type { DecodeAttributes, SampleAttributes } from './types.ts';

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
} as const;
export const STATE_WIDTH = 10;

export interface Sampled {
  readonly token: Tensor;
  readonly logp: Tensor;
  readonly entropy: Tensor;
}

/**
 * One token a row from softmax(logits / temperature) after top-k, top-p and min-p; its log-probability and the entropy
 * are those of the full distribution at that temperature. The uniform number is Philox4x32-10 of (key, counters).
 */
export function sample(logits: Tensor, counters: Tensor, key: Tensor, options: SampleAttributes): Sampled {
  const [r] = rowsAndColumns(logits);
  const [token, logp, entropy] = logits.graph.emit('sample', [logits, counters, key], options, [
    { shape: [r], dtype: 'i32', name: 'token' },
    { shape: [r], name: 'logp' },
    { shape: [r], name: 'entropy' },
  ]);
  return { token: token!, logp: logp!, entropy: entropy! };
}

export interface DecodeBuffers {
  readonly state: Tensor;
  /** i32 [R, maxNewTokens]. */
  readonly history: Tensor;
  /** f32 [R, maxNewTokens, 2]: log-probability and entropy of each sampled token. */
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
  readonly counters: Tensor;
}

/** What the next decoding step needs, computed from the state on the device. */
export function decodeInputs(graph: Graph, state: Tensor, attributes: DecodeAttributes): DecodeInputs {
  const r = attributes.rows;
  const [ids, positions, ranges, cacheRows, counters] = graph.emit('decodeInputs', [state], attributes, [
    { shape: [r], dtype: 'i32', name: 'ids' },
    { shape: [3, r], dtype: 'i32', name: 'positions' },
    { shape: [r, 6], dtype: 'u32', name: 'ranges' },
    { shape: [r], dtype: 'i32', name: 'cacheRows' },
    { shape: [r, 2], dtype: 'u32', name: 'counters' },
  ]);
  return { ids: ids!, positions: positions!, ranges: ranges!, cacheRows: cacheRows!, counters: counters! };
}
