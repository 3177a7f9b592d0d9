/**
 * @file Operations on storage that exceeds one binding (128 MiB on many devices; an embedding of 150,000 x 2,048 has 1.2 GB):
 * the same kernels, launched once for each range of rows that a binding holds, each bound at its place in the one buffer.
 * Tables of embeddings and heads (forward, to the input, and the table's own gradient), the sum of squares, and the optimisers.
 */
import { type Node, nodeOf } from '../../graph.ts';
import { rowsAndColumns, sizeOf, type Tensor } from '../../tensor.ts';
import type { Launch } from '../launch.ts';
import { bytesOf } from '../lifetimes.ts';
import type { KernelContext } from './context.ts';
import { productLaunch } from './matmul.ts';
import { adamw8bitKernel, adamwKernel, sgdKernel } from './optimizer.ts';
import { productOf } from './product.ts';
import { sumSquaresLaunches } from './reduce.ts';
import { embedLaunch, embedTableGradLaunch } from './rows.ts';

interface Range {
  readonly first: number;
  readonly count: number;
}

/** The launches of a node of which a tensor exceeds `limit` bytes, or undefined when it cannot be cut. */
export function shardedLaunches(node: Node, context: KernelContext, limit: number): readonly Launch[] | undefined {
  const large = [...node.inputs, ...node.outputs].filter((t) => bytesOf(t) > limit);
  if (large.some((t) => t.kind !== 'storage')) return undefined;
  const only = (t: Tensor) => large.every((l) => l === t);

  const embed = nodeOf(node, 'embed');
  if (embed !== undefined && only(embed.inputs[1]!)) {
    const table = embed.inputs[1]!;
    return rowRanges(table, limit)?.map((r) => embedLaunch(embed, rowsOf(table, r), r.first));
  }
  const tableGrad = nodeOf(node, 'embedTableGrad');
  if (tableGrad !== undefined && only(tableGrad.outputs[0]!)) {
    const target = tableGrad.outputs[0]!;
    return rowRanges(target, limit)?.map((r) => embedTableGradLaunch(tableGrad, rowsOf(target, r), r.first));
  }
  const product = nodeOf(node, 'matmul');
  if (product !== undefined) return shardedProduct(product, context, limit, only);
  const squares = nodeOf(node, 'sumSquares');
  if (squares !== undefined) {
    const x = squares.inputs[0]!;
    const pieces = elementRanges(sizeOf(x.shape), limit, ALIGNMENT)?.map((r) => elementsOf(x, r));
    return pieces === undefined || pieces.length > squares.attributes.parts ? undefined : sumSquaresLaunches(squares, pieces, context);
  }
  const adamw = nodeOf(node, 'adamw');
  if (adamw !== undefined) return elementwise(adamw, limit, ALIGNMENT, [1, 1, 1, 1])?.flatMap((n) => adamwKernel(n, context));
  const sgd = nodeOf(node, 'sgd');
  if (sgd !== undefined) return elementwise(sgd, limit, ALIGNMENT, [1, 1, 1])?.flatMap((n) => sgdKernel(n, context));
  const adamw8bit = nodeOf(node, 'adamw8bit');
  // A word for four elements, two largest magnitudes for a block of 256: 8,192 elements are 256 bytes of the latter.
  if (adamw8bit !== undefined) return elementwise(adamw8bit, limit, 8192, [1, 1, 1 / 4, 1 / 4, 2 / 256])?.flatMap((n) => adamw8bitKernel(n, context));
  return undefined;
}

/** Ranges begin at a multiple of this many elements: 256 bytes, what the offset of a binding needs on every device. */
const ALIGNMENT = 64;

function elementRanges(length: number, limit: number, granularity: number): Range[] | undefined {
  const most = Math.floor(limit / 4 / granularity) * granularity;
  if (most === 0) return undefined;
  return Array.from({ length: Math.ceil(length / most) }, (_, i) => ({ first: i * most, count: Math.min(most, length - i * most) }));
}

/** Ranges of whole rows, in multiples of 64 rows, so that any width begins at 256 bytes. */
function rowRanges(t: Tensor, limit: number): Range[] | undefined {
  const [rows, columns] = rowsAndColumns(t);
  return elementRanges(rows, Math.floor(limit / columns), ALIGNMENT);
}

function rowsOf(t: Tensor, { first, count }: Range): Tensor {
  const columns = rowsAndColumns(t)[1];
  return { ...t, offset: (t.offset ?? 0) + first * columns, shape: [count, columns] };
}

function elementsOf(t: Tensor, { first, count }: Range, per = 1): Tensor {
  return { ...t, offset: (t.offset ?? 0) + first * per, shape: [Math.ceil(count * per)] };
}

/** An optimiser's node on each range of its storages, which have `per` elements for each parameter. */
function elementwise<K extends 'adamw' | 'adamw8bit' | 'sgd'>(node: Node<K>, limit: number, granularity: number, per: readonly number[]): Node<K>[] | undefined {
  return elementRanges(sizeOf(node.outputs[0]!.shape), limit, granularity)?.map((r) => ({
    ...node,
    outputs: node.outputs.map((t, i) => elementsOf(t, r, per[i]!)),
    attributes: { ...node.attributes, decayed: Math.min(r.count, Math.max(0, node.attributes.decayed - r.first)) },
  }));
}

/** Columns of the result where B [N, K] is large, steps of the inner axis where B [K, N] is, rows of the result where that is. */
function shardedProduct(node: Node<'matmul'>, context: KernelContext, limit: number, only: (t: Tensor) => boolean): readonly Launch[] | undefined {
  const o = productOf(node);
  if (only(o.b)) {
    const ranges = rowRanges(o.b, limit);
    if (o.transposeB) return ranges?.map((r) => productLaunch({ ...o, b: rowsOf(o.b, r), n: r.count, firstOut: r.first }, context));
    // An activation of partial sums is not the activation of the sum.
    if (o.activation !== 'none') return undefined;
    return ranges?.map((r, i) => productLaunch({
      ...o,
      b: rowsOf(o.b, r),
      k: r.count,
      firstA: o.transposeA ? r.first * o.m : r.first,
      ...(i === 0 ? {} : { accumulate: true, bias: undefined, residual: undefined }),
    }, context));
  }
  if (!only(o.out) || o.residual !== undefined) return undefined;
  return rowRanges(o.out, limit)?.map((r) => productLaunch({ ...o, out: rowsOf(o.out, r), m: r.count, firstA: o.transposeA ? r.first : r.first * o.k }, context));
}
