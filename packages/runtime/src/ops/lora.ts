import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, type Tensor } from '../tensor.ts';
import { dropout, type DropoutOptions, dropoutRest } from './dropout.ts';
import { columnSumInto, matmul, partRows } from './matmul.ts';
import { attributesOf, isQuantised, matmulQuantised, tensorsOf, type Weight } from './quantised.ts';

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
  /** [out]: DoRA's learned length of every output row (arXiv 2402.09353); parts with scale 0 keep their weights. */
  readonly magnitude?: Tensor;
  /** Drops inputs of the adapter, in training. */
  readonly dropout?: DropoutOptions;
}

/** base + scale * (x A^T) B^T, part by part. */
export function lora(x: Tensor, base: Tensor, factors: LoraFactors): Tensor {
  const { a, b, rank, ends, scales } = factors;
  const [m, n] = rowsAndColumns(base);
  checkShape(ends[ends.length - 1] === n && ends.length === scales.length, 'lora', `parts end at ${ends.join(', ')}, ${describe(base)} has ${n} columns.`, 'The last part must end with the projection.');
  const down = matmul(factors.dropout === undefined ? x : dropout(x, factors.dropout), a, { transposeB: true });
  return x.graph.emit('loraUp', [base, down, b], { rank, ends, scales }, [{ shape: [m, n] }])[0]!;
}

/** y = x w^T + bias (w [out, in], as in PyTorch; may be quantised), plus low-rank factors where given; a residual is added. */
export function linear(x: Tensor, w: Weight, options: { bias?: Tensor; residual?: Tensor; factors?: LoraFactors } = {}): Tensor {
  const { factors, ...rest } = options;
  if (factors?.magnitude !== undefined) return dora(x, w, factors, factors.magnitude, rest);
  const y = product(x, w, rest);
  return factors === undefined ? y : lora(x, y, factors);
}

function product(x: Tensor, w: Weight, rest: { bias?: Tensor; residual?: Tensor } = {}): Tensor {
  return isQuantised(w) ? matmulQuantised(x, w, rest) : matmul(x, w, { ...rest, transposeB: true });
}

/** [out]: length of every row of W + s B A, part by part. No gradient flows through it. */
export function doraNorm(w: Weight, { a, b, rank, ends, scales }: Pick<LoraFactors, 'a' | 'b' | 'rank' | 'ends' | 'scales'>): Tensor {
  return a.graph.emit('doraNorm', [a, ...(isQuantised(w) ? tensorsOf(w) : [w]), b], { rank, ends, scales, weight: isQuantised(w) ? attributesOf(w) : null }, [{ shape: [ends[ends.length - 1]!] }])[0]!;
}

/**
 * m * (W + s B A) x / |W + s B A| row by row, + bias + residual. As in the paper (4.3) and PEFT, no gradient flows through
 * the lengths. With dropout (PEFT): W (x - d) + m * (W + s B A) d / |W + s B A|, where d are the dropped inputs.
 */
function dora(x: Tensor, w: Weight, { dropout: drop, ...factors }: LoraFactors, magnitude: Tensor, { bias, residual }: { bias?: Tensor; residual?: Tensor }): Tensor {
  const { a, b, rank, ends, scales } = factors;
  const attributes = { rank, ends, scales };
  const norm = doraNorm(w, { a, b, ...attributes });
  const seen = drop === undefined || drop.p === 0 ? undefined : dropout(x, drop);
  const past = seen === undefined ? residual : product(dropoutRest(x, drop!), w, residual === undefined ? {} : { residual });
  const y = lora(seen ?? x, product(seen ?? x, w), factors);
  const inputs = [y, magnitude, norm, ...(bias === undefined ? [] : [bias]), ...(past === undefined ? [] : [past])];
  return x.graph.emit('doraScale', inputs, { ...attributes, bias: bias !== undefined, residual: past !== undefined }, [{ shape: y.shape }])[0]!;
}

/** dx = dy * m / |W'|, dm += sum over rows of dy * x / |W'|; bias and residual take dy. The norm stands still. */
export const doraScaleVjp: Vjp<'doraScale'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const { bias, residual, ...attributes } = node.attributes;
  const [x, magnitude, norm] = node.inputs as [Tensor, Tensor, Tensor];
  const biasTensor = bias ? node.inputs[3]! : undefined;
  const residualTensor = residual ? node.inputs[bias ? 4 : 3]! : undefined;
  const [m, n] = rowsAndColumns(x);
  if (ctx.trains(magnitude, 'magnitude of dora')) {
    const rowsPerPart = partRows(m);
    ctx.graph.emitInto('doraMagnitudeGrad', [dy, x, norm], { ...attributes, rowsPerPart }, [magnitude.grad, ctx.graph.scratch([Math.ceil(m / rowsPerPart), n])]);
  }
  if (ctx.trains(biasTensor, 'bias of dora')) columnSumInto(biasTensor.grad, dy);
  if (residualTensor !== undefined && ctx.needs(residualTensor)) ctx.give(residualTensor, dy);
  if (ctx.needs(x)) ctx.give(x, ctx.graph.emit('doraScale', [dy, magnitude, norm], { ...attributes, bias: false, residual: false }, [{ shape: x.shape }])[0]!);
};

/** dDown[m, part r] = s sum_n dy[m, n] B[n, r]; dB[n, r] += s sum_m dy[m, n] down[m, part r]; the base takes dy. */
export const loraUpVjp: Vjp<'loraUp'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const [base, down, b] = node.inputs as [Tensor, Tensor, Tensor];
  if (ctx.needs(base)) ctx.give(base, dy);
  if (ctx.trains(b, 'B of lora')) ctx.graph.emitInto('loraUpGradB', [dy, down], node.attributes, [b.grad]);
  if (ctx.needs(down)) ctx.give(down, ctx.graph.emit('loraUpGradDown', [dy, b], node.attributes, [{ shape: down.shape }])[0]!);
};

