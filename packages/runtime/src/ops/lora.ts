import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, type Tensor } from '../tensor.ts';
import { matmul } from './matmul.ts';

/**
 * Low-rank factors (Hu et al. 2021) of one projection, or of several that are computed as one (q, k, v; gate, up):
 * `a` [parts * rank, in] holds the A of each part below the other, `b` [out, rank] the B of each part, whose output
 * columns end at `ends[part]`; each part has its own scale (alpha / r, or alpha / sqrt(r) with rsLoRA).
 */
export interface LoraFactors {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly rank: number;
  readonly ends: readonly number[];
  readonly scales: readonly number[];
}

/** base + scale * (x A^T) B^T, part by part. */
export function lora(x: Tensor, base: Tensor, factors: LoraFactors): Tensor {
  const { a, b, rank, ends, scales } = factors;
  const [m, n] = rowsAndColumns(base);
  checkShape(ends[ends.length - 1] === n && ends.length === scales.length, 'lora', `parts end at ${ends.join(', ')}, ${describe(base)} has ${n} columns.`, 'The last part must end with the projection.');
  const down = matmul(x, a, { transposeB: true });
  return x.graph.emit('loraUp', [base, down, b], { rank, ends, scales }, [{ shape: [m, n] }])[0]!;
}

/** y = x w^T + bias (w [out, in], as in PyTorch), plus low-rank factors where given; a residual is added. */
export function linear(x: Tensor, w: Tensor, options: { bias?: Tensor; residual?: Tensor; factors?: LoraFactors } = {}): Tensor {
  const { factors, ...rest } = options;
  const y = matmul(x, w, { ...rest, transposeB: true });
  return factors === undefined ? y : lora(x, y, factors);
}

/** dDown[m, part r] = s sum_n dy[m, n] B[n, r]; dB[n, r] += s sum_m dy[m, n] down[m, part r]; the base takes dy. */
export const loraUpVjp: Vjp<'loraUp'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const [base, down, b] = node.inputs as [Tensor, Tensor, Tensor];
  if (ctx.needs(base)) ctx.give(base, dy);
  if (b.grad !== undefined) ctx.graph.emitInto('loraUpGradB', [dy, down], node.attributes, [b.grad]);
  if (ctx.needs(down)) ctx.give(down, ctx.graph.emit('loraUpGradDown', [dy, b], node.attributes, [{ shape: down.shape }])[0]!);
};

