import type { Vjp, VjpContext } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { matmul } from './matmul.ts';

export interface BmmOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly alpha?: number;
  readonly residual?: Tensor;
}

/**
 * alpha op(A_i) op(B_i) + residual_i for every matrix i of a batch: a [..., m, k], b [..., k, n] with equal leading axes give
 * [..., m, n] (`transposeA`: a [..., k, m]; `transposeB`: b [..., n, k]). As `torch.bmm`, with any number of leading axes.
 * A `b` of two axes is used for every matrix of an `a` that is not transposed. Throws `shape`.
 */
export function bmm(a: Tensor, b: Tensor, options: BmmOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, alpha = 1, residual } = options;
  const shape = resultShape(a, b, transposeA, transposeB);
  if (residual !== undefined) checkShape(sizeOf(residual.shape) === sizeOf(shape), 'residual', `${describe(residual)} does not fit [${shape.join(', ')}].`, 'It must have the shape of the result.');
  if (b.shape.length === 2) return a.graph.reshape(matmul(a, b, options), shape);
  const inputs = [a, b, ...(residual === undefined ? [] : [residual])];
  return a.graph.emit('bmm', inputs, { transposeA, transposeB, alpha, residual: residual !== undefined, accumulate: false }, [{ shape }])[0]!;
}

/** target_i += alpha op(A_i) op(B_i) for every matrix of a batch. */
export function bmmInto(target: Tensor, a: Tensor, b: Tensor, options: Omit<BmmOptions, 'residual'> = {}): void {
  const { transposeA = false, transposeB = false, alpha = 1 } = options;
  const shape = resultShape(a, b, transposeA, transposeB);
  checkShape(b.shape.length > 2, 'bmmInto', `${describe(b)} is one matrix.`, 'Use matmulInto.');
  checkShape(sizeOf(target.shape) === sizeOf(shape), 'target', `${describe(target)} cannot hold [${shape.join(', ')}].`, 'Give a target of that size.');
  a.graph.emitInto('bmm', [a, b], { transposeA, transposeB, alpha, residual: false, accumulate: true }, [target]);
}

function resultShape(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Shape {
  checkShape(a.shape.length >= 3, 'bmm', `${describe(a)} is no batch of matrices.`, 'Give at least three axes, or use matmul.');
  const lead = a.shape.slice(0, -2);
  const [ar, ac] = a.shape.slice(-2) as [number, number];
  const [br, bc] = b.shape.slice(-2) as [number, number];
  const shared = b.shape.length === 2;
  checkShape(shared || b.shape.slice(0, -2).join() === lead.join(), 'bmm', `the leading axes of ${describe(a)} and ${describe(b)} differ.`, 'Reshape one of them; nothing is broadcast.');
  checkShape(!shared || !transposeA, 'bmm', `one matrix ${describe(b)} cannot be shared by the transposed ${describe(a)}.`, 'Give b the leading axes of a.');
  const [m, ka] = transposeA ? [ac, ar] : [ar, ac];
  const [kb, n] = transposeB ? [bc, br] : [br, bc];
  checkShape(ka === kb, 'bmm', `inner sizes ${ka} of ${describe(a)} and ${kb} of ${describe(b)} disagree.`, 'Transpose one of them or mend its shape.');
  return [...lead, m, n];
}

/** C = op(A) op(B): d op(A) = dC op(B)^T, d op(B) = op(A)^T dC; a transposed operand swaps the factors. */
export const bmmVjp: Vjp<'bmm'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const { transposeA, transposeB, alpha, residual } = node.attributes;
  const [a, b] = node.inputs as [Tensor, Tensor];
  if (residual && ctx.needs(node.inputs[2]!)) ctx.give(node.inputs[2]!, dy);
  if (ctx.needs(a)) {
    if (transposeA) giveProduct(ctx, a, b, dy, { transposeA: transposeB, transposeB: true, alpha });
    else giveProduct(ctx, a, dy, b, { transposeB: !transposeB, alpha });
  }
  if (ctx.needs(b)) {
    if (transposeB) giveProduct(ctx, b, dy, a, { transposeA: true, transposeB: transposeA, alpha });
    else giveProduct(ctx, b, a, dy, { transposeA: !transposeA, alpha });
  }
};

function giveProduct(ctx: VjpContext, of: Tensor, left: Tensor, right: Tensor, options: Omit<BmmOptions, 'residual'>): void {
  if (of.grad !== undefined) return bmmInto(of.grad, left, right, options);
  const before = ctx.take(of);
  ctx.give(of, bmm(left, right, { ...options, ...(before === undefined ? {} : { residual: before }) }));
}
