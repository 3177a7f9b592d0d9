import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, sizeOf, type Tensor } from '../tensor.ts';
import { columnSumInto, partRows } from './matmul.ts';
import type { HeadNormAttributes } from './types.ts';

/** RMSNorm (Zhang and Sennrich 2019): y = x / sqrt(mean(x^2) + eps) * w over the last axis. */
export function rmsNorm(x: Tensor, w: Tensor, eps: number): Tensor {
  const [m, n] = rowsAndColumns(x);
  checkShape(sizeOf(w.shape) === n, 'rmsNorm', `weight ${describe(w)} does not fit ${describe(x)}.`, `It must have ${n} elements.`);
  return x.graph.emit('rmsNorm', [x, w], { eps }, [{ shape: [m, n] }, { shape: [m], name: 'rstd' }])[0]!;
}

/** dx = rstd * (g - xhat * mean(g * xhat)) with g = dy * w, xhat = x * rstd; dw = sum over rows of dy * xhat. */
export const rmsNormVjp: Vjp<'rmsNorm'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const [x, w] = node.inputs as [Tensor, Tensor];
  const rstd = node.outputs[1]!;
  const [m, n] = rowsAndColumns(x);
  if (ctx.trains(w, 'weight of rmsNorm')) {
    const rowsPerPart = partRows(m);
    const scratch = ctx.graph.scratch([Math.ceil(m / rowsPerPart), n]);
    ctx.graph.emitInto('rmsNormWeightGrad', [dy, x, rstd], { rowsPerPart }, [w.grad, scratch]);
  }
  if (ctx.needs(x)) {
    const before = ctx.take(x);
    const inputs = [dy, x, w, rstd, ...(before === undefined ? [] : [before])];
    ctx.give(x, ctx.graph.emit('rmsNormBackward', inputs, { residual: before !== undefined }, [{ shape: x.shape }])[0]!);
  }
};

/** LayerNorm (Ba et al. 2016): y = (x - mean) / sqrt(var + eps) * w + b over the last axis (biased variance, as PyTorch). */
export function layerNorm(x: Tensor, w: Tensor, b: Tensor, eps: number): Tensor {
  const [m, n] = rowsAndColumns(x);
  for (const [name, t] of [['weight', w], ['bias', b]] as const) checkShape(sizeOf(t.shape) === n, 'layerNorm', `${name} ${describe(t)} does not fit ${describe(x)}.`, `It must have ${n} elements.`);
  return x.graph.emit('layerNorm', [x, w, b], { eps }, [{ shape: [m, n] }, { shape: [m, 2], name: 'stats' }])[0]!;
}

/** dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) with g = dy * w; dw = sum of dy * xhat, db = sum of dy. */
export const layerNormVjp: Vjp<'layerNorm'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const [x, w, b] = node.inputs as [Tensor, Tensor, Tensor];
  const stats = node.outputs[1]!;
  const [m, n] = rowsAndColumns(x);
  if (ctx.trains(w, 'weight of layerNorm')) {
    const rowsPerPart = partRows(m);
    ctx.graph.emitInto('layerNormWeightGrad', [dy, x, stats], { rowsPerPart }, [w.grad, ctx.graph.scratch([Math.ceil(m / rowsPerPart), n])]);
  }
  if (ctx.trains(b, 'bias of layerNorm')) columnSumInto(b.grad, dy);
  if (ctx.needs(x)) {
    const before = ctx.take(x);
    const inputs = [dy, x, w, stats, ...(before === undefined ? [] : [before])];
    ctx.give(x, ctx.graph.emit('layerNormBackward', inputs, { residual: before !== undefined }, [{ shape: x.shape }])[0]!);
  }
};

/** RMSNorm of every query and key head before its rotation (Qwen3): w holds the queries' weights, then the keys', headDim each. */
export function headNorm(x: Tensor, w: Tensor, options: HeadNormAttributes & { readonly eps: number }): Tensor {
  const [t, c] = rowsAndColumns(x);
  const { heads, queryHeads, headDim } = options;
  checkShape(heads * headDim <= c && queryHeads <= heads, 'headNorm', `${heads} heads of ${headDim} (${queryHeads} of queries) do not fit ${describe(x)}.`, 'Check heads and headDim.');
  checkShape(sizeOf(w.shape) === 2 * headDim, 'headNorm', `weight ${describe(w)} is not two heads of ${headDim}.`, `It must have ${2 * headDim} elements.`);
  return x.graph.emit('headNorm', [x, w], options, [{ shape: x.shape }, { shape: [t, heads], name: 'rstd' }])[0]!;
}

export const headNormVjp: Vjp<'headNorm'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const [x, w] = node.inputs as [Tensor, Tensor];
  const rstd = node.outputs[1]!;
  const { eps: _, ...attributes } = node.attributes;
  const [t] = rowsAndColumns(x);
  if (ctx.trains(w, 'weight of headNorm')) {
    const rowsPerPart = partRows(t);
    ctx.graph.emitInto('headNormWeightGrad', [dy, x, rstd], { ...attributes, rowsPerPart }, [w.grad, ctx.graph.scratch([Math.ceil(t / rowsPerPart), 2 * attributes.headDim])]);
  }
  if (ctx.needs(x)) ctx.give(x, ctx.graph.emit('headNormBackward', [dy, x, w, rstd], attributes, [{ shape: x.shape }])[0]!);
};
