import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, sizeOf, type Tensor } from '../tensor.ts';
import { partRows } from './matmul.ts';

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
  if (w.grad !== undefined) {
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
