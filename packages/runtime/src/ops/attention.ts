import type { Vjp } from '../autograd.ts';
import { RuntimeError, checkShape } from '../errors.ts';
import { describe, rowsAndColumns, type Tensor } from '../tensor.ts';
import type { AttentionAttributes } from './types.ts';

export interface AttentionOptions {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Which keys a query sees: u32 [Tq, 6], three half-open ranges of key rows (empty ones 0, 0), disjoint. */
  readonly queryRanges: Tensor;
  /** Which queries see a key: u32 [Tk, 2], one half-open range of query rows; needed for the backward pass only. */
  readonly keyRanges?: Tensor;
  /** Columns at which q, k and v begin in their tensors. */
  readonly columns: readonly [number, number, number];
}

/**
 * softmax(q k^T / sqrt(D)) v by head without a score matrix (online softmax, Milakov and Gimelshein 2018; Dao et al. 2022).
 * Causal, windowed, packed and prefix-sharing attention differ only in the ranges, which the caller lays out.
 * q, k, v may be columns of one tensor (training) or of a cache (decoding). Grouped queries: head h reads kv head h / (heads / kvHeads).
 * @returns o [Tq, heads * headDim]; the log-sum-exp [Tq, heads] is kept for the backward pass.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { heads, kvHeads, headDim, queryRanges, keyRanges, columns } = options;
  const [tq] = rowsAndColumns(q);
  checkShape(heads % kvHeads === 0, 'attention', `${heads} heads cannot share ${kvHeads} key-value heads.`, 'heads must be a multiple of kvHeads.');
  checkShape(headDim % 4 === 0 && headDim <= 128, 'attention', `head size ${headDim} is not supported.`, 'Use a multiple of 4 up to 128.');
  checkShape(queryRanges.shape[0] === tq && queryRanges.shape[1] === 6, 'attention', `${describe(queryRanges)} does not fit ${tq} queries.`, `It must be u32[${tq}, 6].`);
  const attributes: AttentionAttributes = { heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim), qColumn: columns[0], kColumn: columns[1], vColumn: columns[2] };
  const inputs = [q, k, v, queryRanges, ...(keyRanges === undefined ? [] : [keyRanges])];
  return q.graph.emit('attention', inputs, attributes, [{ shape: [tq, heads * headDim] }, { shape: [tq, heads], name: 'lse' }])[0]!;
}

/**
 * With P = exp(scale q k^T - lse): dV = P^T dO, dS = P * (dO V^T - delta), delta = rowsum(dO * O), dQ = scale dS K, dK = scale dS^T Q.
 */
export const attentionVjp: Vjp<'attention'> = (ctx, node, [dO]) => {
  if (dO === undefined) return;
  const [q, k, v, queryRanges, keyRanges] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  if (!ctx.needs(q)) return;
  if (q.id !== k.id || q.id !== v.id || keyRanges === undefined) {
    throw new RuntimeError('autograd', 'attention', 'the backward pass needs q, k, v in one tensor and keyRanges.', 'Project q, k and v together and pass keyRanges.');
  }
  const [o, lse] = node.outputs as readonly [Tensor, Tensor];
  const [dqkv] = ctx.graph.emit('attentionBackward', [q, o, lse, dO, queryRanges, keyRanges], node.attributes, [{ shape: q.shape }, { shape: lse.shape, name: 'delta' }]);
  ctx.give(q, dqkv!);
};
