/** @file A language model's head with its softmax, chunk by chunk of the vocabulary: logits of all tokens never exist at once. */
import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { rowsAndColumns, type Tensor } from '../tensor.ts';
import type { LogProbabilities } from './loss.ts';
import { matmul, matmulInto } from './matmul.ts';
import { giveThrough, isQuantised, matmulQuantised, type Weight, weightRows } from './quantised.ts';

interface ChunkedHead {
  readonly temperature: number;
  readonly chunks: readonly { readonly first: number; readonly weight: Weight }[];
}

/** What the backward rule needs beside the statistics, by the attributes of the last operation, which one that is recorded again in a checkpoint shares. */
const HEADS = new WeakMap<object, ChunkedHead>();

/**
 * Log-probability of each row's target under softmax(x W^T / temperature) and the entropy, over chunks of `chunk` rows (a
 * multiple of 64, else rounded up) of W [vocabulary, K] with running maximum and sums. The backward pass computes each chunk's logits again, so the memory is
 * that of one chunk. Equal to `logSoftmax(matmul(x, W))` up to rounding.
 */
export function headLogProbabilities(x: Tensor, weight: Weight, targets: Tensor, options: { readonly temperature?: number; readonly chunk: number }): LogProbabilities {
  const { temperature = 1 } = options;
  // Chunks begin where a binding may: at multiples of 64 elements, whatever the width of a row.
  const chunk = Math.max(1, Math.ceil(options.chunk / 64)) * 64;
  const vocabulary = isQuantised(weight) ? weight.rows : rowsAndColumns(weight)[0];
  const [r] = rowsAndColumns(x);
  const chunks = Array.from({ length: Math.ceil(vocabulary / chunk) }, (_, i) => ({ first: i * chunk, weight: weightRows(weight, i * chunk, Math.min(chunk, vocabulary - i * chunk)) }));
  let statistics: Tensor | undefined;
  for (const { first, weight: w } of chunks) {
    const inputs = [logitsOf(x, w), targets, ...(statistics === undefined ? [] : [statistics])];
    statistics = x.graph.emit('softmaxChunk', inputs, { temperature, first, before: statistics !== undefined }, [{ shape: [r, 4], name: 'statistics' }])[0]!;
  }
  checkShape(statistics !== undefined, 'headLogProbabilities', 'has no vocabulary.', 'Give a weight with rows.');
  // x stands among the inputs so that the gradient finds its way; it is not read.
  const attributes = {};
  const [logp, entropy] = x.graph.emit('softmaxFinish', [statistics, targets, x], attributes, [{ shape: [r], name: 'logp' }, { shape: [r], name: 'entropy' }, { shape: [r], name: 'lse' }]);
  HEADS.set(attributes, { temperature, chunks });
  return { logp: logp!, entropy: entropy! };
}

function logitsOf(x: Tensor, w: Weight): Tensor {
  return isQuantised(w) ? matmulQuantised(x, w) : matmul(x, w, { transposeB: true });
}

export const softmaxFinishVjp: Vjp<'softmaxFinish'> = (ctx, node, [dLogp, dEntropy]) => {
  if (dLogp === undefined && dEntropy === undefined) return;
  checkShape(dLogp !== undefined, 'softmaxFinish', 'a gradient of the entropy alone is not supported.', 'Seed the log-probabilities too (with zeros).');
  const [, entropy, lse] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const [, targets, x] = node.inputs as readonly [Tensor, Tensor, Tensor];
  const { temperature, chunks } = HEADS.get(node.attributes)!;
  for (const { first, weight } of chunks) {
    const logits = logitsOf(x, weight);
    const inputs = [logits, targets, lse, entropy, dLogp, ...(dEntropy === undefined ? [] : [dEntropy])];
    const dz = ctx.graph.emit('softmaxChunkBackward', inputs, { temperature, first }, [{ shape: logits.shape }])[0]!;
    if (isQuantised(weight)) {
      giveThrough(ctx, x, dz, weight);
      continue;
    }
    if (weight.grad !== undefined) matmulInto(weight.grad, dz, x, { transposeA: true });
    if (ctx.needs(x)) {
      const before = ctx.take(x);
      ctx.give(x, matmul(dz, weight, before === undefined ? {} : { residual: before }));
    }
  }
};

/** The statistics are taken care of by `softmaxFinish`, which computes the logits again. */
export const softmaxChunkVjp: Vjp<'softmaxChunk'> = () => undefined;
