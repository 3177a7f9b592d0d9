import type { Vjp, VjpContext } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, type Tensor } from '../tensor.ts';
import { columnSumInto } from './matmul.ts';
import type { QuantisedAttributes } from './types.ts';

/**
 * A frozen matrix [rows, columns] in 4 or 8 bits, in blocks along the columns with a scale (and perhaps a zero point) each,
 * or in half floats (any device unpacks them). A word holds 8, 4 or 2 values, the first in its lowest bits; rows are padded
 * to whole blocks (of 2 for f16).
 */
export interface QuantisedWeight extends Omit<QuantisedAttributes, 'zeros'> {
  /** u32 [rows, blocks * blockSize * bits / 32]. */
  readonly data: Tensor;
  /** f32 [rows, blocks]; none for f16. */
  readonly scales?: Tensor;
  /** f32 [rows, blocks]; none: 8 (4 bits) or 128 (8 bits). */
  readonly zeros?: Tensor;
}

export type Weight = Tensor | QuantisedWeight;

export function isQuantised(w: Weight): w is QuantisedWeight {
  return 'data' in w;
}

/** Rows [first, first + count) of a weight. */
export function weightRows(w: Weight, first: number, count: number): Weight {
  if (!isQuantised(w)) return tensorRows(w, first, count);
  const blocks = Math.ceil(w.columns / w.blockSize);
  const cut = (t: Tensor) => tensorRows(t.graph.reshape(t, [w.rows, rowsAndColumns(t)[1] === blocks || t.dtype === 'u32' ? rowsAndColumns(t)[1] : blocks]), first, count);
  return { ...w, rows: count, data: cut(w.data), ...(w.scales === undefined ? {} : { scales: cut(w.scales) }), ...(w.zeros === undefined ? {} : { zeros: cut(w.zeros) }) };
}

function tensorRows(t: Tensor, first: number, count: number): Tensor {
  const columns = rowsAndColumns(t)[1];
  checkShape(t.storage !== undefined, 'weightRows', `${describe(t)} is no view of storage.`, 'Only parameters can be cut into rows.');
  return t.graph.view(t.storage, (t.offset ?? 0) + first * columns, [count, columns], `${t.name}[${first}..]`, t.grad === undefined ? undefined : tensorRows(t.grad, first, count));
}

/** x W^T + bias + residual for a quantised W: [M, columns] to [M, rows]. No gradient flows into W. */
export function matmulQuantised(x: Tensor, w: QuantisedWeight, options: { readonly bias?: Tensor; readonly residual?: Tensor } = {}): Tensor {
  const [m, k] = rowsAndColumns(x);
  checkShape(k === w.columns, 'matmulQuantised', `${describe(x)} does not fit a weight of ${w.columns} columns.`, 'Check the weight.');
  const words = Math.ceil(w.columns / w.blockSize) * w.blockSize * (w.bits / 32);
  checkShape(rowsAndColumns(w.data)[1] === words, 'matmulQuantised', `${describe(w.data)} is not ${words} words a row.`, 'Pack rows to whole blocks.');
  const { bias, residual } = options;
  return emitQuantised(x, w, m, w.rows, false, bias, residual);
}

/** x W^T for a W in shards of rows, as one result [M, all rows]: a head that exceeds a binding. Not differentiable (see `headLogProbabilities`). */
export function matmulShards(x: Tensor, shards: readonly QuantisedWeight[]): Tensor {
  const outColumns = shards.reduce((n, s) => n + s.rows, 0);
  const [m] = rowsAndColumns(x);
  let out: Tensor | undefined;
  let outFirst = 0;
  for (const shard of shards) {
    const { rows } = shard;
    const inputs = [x, ...tensorsOf(shard)];
    const attributes = { ...attributesOf(shard), transposed: false, bias: false, residual: false, outFirst, outColumns };
    if (out === undefined) out = x.graph.emit('matmulQuantised', inputs, attributes, [{ shape: [m, outColumns] }])[0]!;
    else x.graph.emitInto('matmulQuantised', inputs, attributes, [out]);
    outFirst += rows;
  }
  checkShape(out !== undefined, 'matmulShards', 'has no shards.', 'Give at least one.');
  return out;
}

/** Its tensors in the order of an operation's inputs. */
export function tensorsOf({ data, scales, zeros }: QuantisedWeight): Tensor[] {
  return [data, scales, zeros].filter((t) => t !== undefined);
}

export function attributesOf({ format, bits, blockSize, rows, columns, zeros }: QuantisedWeight): QuantisedAttributes {
  return { format, bits, blockSize, rows, columns, zeros: zeros !== undefined };
}

/** How many of an operation's inputs, behind the first, are of the weight. */
export function weightInputCount({ format, zeros }: QuantisedAttributes): number {
  return format === 'f16' ? 1 : zeros ? 3 : 2;
}

function emitQuantised(x: Tensor, w: QuantisedWeight, m: number, n: number, transposed: boolean, bias?: Tensor, residual?: Tensor): Tensor {
  const inputs = [x, ...tensorsOf(w), ...[bias, residual].filter((t) => t !== undefined)];
  const attributes = { ...attributesOf(w), transposed, bias: bias !== undefined, residual: residual !== undefined, outFirst: 0, outColumns: n };
  return x.graph.emit('matmulQuantised', inputs, attributes, [{ shape: [m, n] }])[0]!;
}

export const matmulQuantisedVjp: Vjp<'matmulQuantised'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const { zeros, bias, residual, transposed, outFirst: _, outColumns, ...rest } = node.attributes;
  checkShape(!transposed && outColumns === rest.rows, 'matmulQuantised', 'in shards, or the way back itself, has no gradient.', 'Use headLogProbabilities for a large head.');
  const [x, data] = node.inputs as [Tensor, Tensor];
  let next = 2;
  const scales = rest.format === 'f16' ? undefined : node.inputs[next++]!;
  const zerosTensor = zeros ? node.inputs[next++]! : undefined;
  const biasTensor = bias ? node.inputs[next++]! : undefined;
  const residualTensor = residual ? node.inputs[next]! : undefined;
  if (ctx.trains(biasTensor, 'bias of matmulQuantised')) columnSumInto(biasTensor.grad, dy);
  if (residualTensor !== undefined && ctx.needs(residualTensor)) ctx.give(residualTensor, dy);
  giveThrough(ctx, x, dy, { ...rest, data, ...(scales === undefined ? {} : { scales }), ...(zerosTensor === undefined ? {} : { zeros: zerosTensor }) });
};

/** dx = dy W, with the gradient so far folded in. */
export function giveThrough(ctx: VjpContext, x: Tensor, dy: Tensor, w: QuantisedWeight): void {
  if (!ctx.needs(x)) return;
  const before = ctx.take(x);
  ctx.give(x, emitQuantised(dy, w, rowsAndColumns(x)[0], w.columns, true, undefined, before));
}

/** table[ids] of a quantised table cut into shards of rows; a negative id gives zeros. Not differentiable. */
export function embedQuantised(ids: Tensor, shards: readonly { readonly first: number; readonly table: QuantisedWeight }[]): Tensor {
  let out: Tensor | undefined;
  for (const { first, table } of shards) {
    const inputs = [ids, ...tensorsOf(table), ...(out === undefined ? [] : [out])];
    out = ids.graph.emit('embedQuantised', inputs, { ...attributesOf(table), first, before: out !== undefined }, [{ shape: [ids.shape[0] ?? 0, table.columns] }])[0]!;
  }
  checkShape(out !== undefined, 'embedQuantised', 'has no shards.', 'Give at least one.');
  return out;
}
