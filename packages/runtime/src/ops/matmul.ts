import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, sizeOf, type Tensor } from '../tensor.ts';
import type { Activation } from './types.ts';

export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly alpha?: number;
  readonly bias?: Tensor;
  readonly residual?: Tensor;
  readonly activation?: Activation;
}

/** act(alpha * op(A) op(B) + bias) + residual. A, B are matrices (leading axes of A folded); bias [N]; residual like the result. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, alpha = 1, bias, residual, activation = 'none' } = options;
  const [m, n] = resultShape(a, b, transposeA, transposeB);
  if (bias !== undefined) checkShape(sizeOf(bias.shape) === n, 'bias', `${describe(bias)} does not fit ${n} columns.`, `It must have ${n} elements.`);
  if (residual !== undefined) checkShape(sizeOf(residual.shape) === m * n, 'residual', `${describe(residual)} does not fit [${m}, ${n}].`, 'It must have the shape of the result.');
  const inputs = [a, b, ...(bias === undefined ? [] : [bias]), ...(residual === undefined ? [] : [residual])];
  return a.graph.emit(
    'matmul',
    inputs,
    { transposeA, transposeB, alpha, activation, bias: bias !== undefined, residual: residual !== undefined, accumulate: false },
    [{ shape: [m, n] }],
  )[0]!;
}

/** target += alpha * op(A) op(B). */
export function matmulInto(target: Tensor, a: Tensor, b: Tensor, options: { transposeA?: boolean; transposeB?: boolean; alpha?: number } = {}): void {
  const { transposeA = false, transposeB = false, alpha = 1 } = options;
  const [m, n] = resultShape(a, b, transposeA, transposeB);
  checkShape(sizeOf(target.shape) === m * n, 'target', `${describe(target)} cannot hold [${m}, ${n}].`, 'Give a target of that size.');
  a.graph.emitInto('matmul', [a, b], { transposeA, transposeB, alpha, activation: 'none', bias: false, residual: false, accumulate: true }, [target]);
}

function resultShape(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): [number, number] {
  const [ar, ac] = rowsAndColumns(a);
  const [br, bc] = rowsAndColumns(b);
  const [m, ka] = transposeA ? [ac, ar] : [ar, ac];
  const [kb, n] = transposeB ? [bc, br] : [br, bc];
  checkShape(ka === kb, 'matmul', `inner sizes ${ka} of ${describe(a)} and ${kb} of ${describe(b)} disagree.`, 'Transpose one of them or mend its shape.');
  return [m, n];
}

/** target[n] += sum over the rows of x [M, N]. */
export function columnSumInto(target: Tensor, x: Tensor): void {
  const [m, n] = rowsAndColumns(x);
  const rowsPerPart = partRows(m);
  x.graph.emitInto('columnSum', [x], { rowsPerPart }, [target, x.graph.scratch([Math.ceil(m / rowsPerPart), n])]);
}

/** Rows that one invocation sums before the parts are added: about the square root, so that both passes are short. */
export function partRows(rows: number): number {
  return Math.max(16, Math.ceil(Math.sqrt(rows)));
}

/** dA and dB of a matrix product, the bias by column sums; a residual takes the gradient as it is. */
export const matmulVjp: Vjp<'matmul'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const { transposeA, transposeB, alpha, activation, bias, residual } = node.attributes;
  const [a, b] = node.inputs as [Tensor, Tensor];
  const biasTensor = bias ? node.inputs[2]! : undefined;
  const residualTensor = residual ? node.inputs[bias ? 3 : 2]! : undefined;
  if (residualTensor !== undefined && ctx.needs(residualTensor)) ctx.give(residualTensor, dy);
  if (activation !== 'none') throw new Error('matmul with a fused activation is recorded for inference only');
  if (ctx.needs(a)) {
    // C = op(A) op(B): d op(A) = dC op(B)^T, d op(B) = op(A)^T dC; a transposed operand swaps the factors.
    const d = transposeA ? gradientOf(ctx, a, b, dy, { transposeA: transposeB, transposeB: true }, alpha) : gradientOf(ctx, a, dy, b, { transposeA: false, transposeB: !transposeB }, alpha);
    if (d !== undefined) ctx.give(a, d);
  }
  if (ctx.needs(b)) {
    const d = transposeB ? gradientOf(ctx, b, dy, a, { transposeA: true, transposeB: transposeA }, alpha) : gradientOf(ctx, b, a, dy, { transposeA: !transposeA, transposeB: false }, alpha);
    if (d !== undefined) ctx.give(b, d);
  }
  if (ctx.trains(biasTensor, 'bias of matmul')) columnSumInto(biasTensor.grad, dy);
};

/** Adds into the parameter's gradient, or returns a new tensor with the gradient so far folded in. */
function gradientOf(ctx: Parameters<Vjp<'matmul'>>[0], of: Tensor, left: Tensor, right: Tensor, flags: { transposeA: boolean; transposeB: boolean }, alpha: number): Tensor | undefined {
  if (of.grad !== undefined) {
    matmulInto(of.grad, left, right, { ...flags, alpha });
    return undefined;
  }
  const before = ctx.take(of);
  return matmul(left, right, { ...flags, alpha, ...(before === undefined ? {} : { residual: before }) });
}
