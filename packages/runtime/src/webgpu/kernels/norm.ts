/** @file RMSNorm and its gradient: one row a thread, two sweeps over the row. */
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import type { Kernel } from './context.ts';

export const rmsNormKernel: Kernel<'rmsNorm'> = (node) => {
  const [x, w] = node.inputs as [Tensor, Tensor];
  const [y, rstd] = node.outputs as readonly [Tensor, Tensor];
  const [m, n] = rowsAndColumns(x);
  return [
    launch({
      label: 'rmsNorm',
      inputs: { x: [x, 'f32'], w: [w, 'f32'] },
      outputs: { y: [y, 'f32'], rstd: [rstd, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n], eps: ['f32', node.attributes.eps] },
      workgroupSize: [8],
      workgroups: [Math.ceil(m / 8)],
      body: `
  if (gid.x >= p.m) { return; }
  let at = gid.x * p.n;
  var s = 0.0;
  for (var i = 0u; i < p.n; i++) { let v = x[at + i]; s = fma(v, v, s); }
  let r = inverseSqrt(s / f32(p.n) + p.eps);
  rstd[gid.x] = r;
  for (var i = 0u; i < p.n; i++) { y[at + i] = x[at + i] * r * w[i]; }`,
    }),
  ];
};

export const rmsNormBackwardKernel: Kernel<'rmsNormBackward'> = (node) => {
  const [dy, x, w, rstd, residual] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [m, n] = rowsAndColumns(x);
  return [
    launch({
      label: 'rmsNormBackward',
      inputs: { dy: [dy, 'f32'], x: [x, 'f32'], w: [w, 'f32'], rstd: [rstd, 'f32'], ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
      outputs: { dx: [node.outputs[0]!, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n] },
      workgroupSize: [8],
      workgroups: [Math.ceil(m / 8)],
      body: `
  if (gid.x >= p.m) { return; }
  let at = gid.x * p.n;
  let r = rstd[gid.x];
  var s = 0.0;
  for (var i = 0u; i < p.n; i++) { s = fma(dy[at + i] * w[i], x[at + i], s); }
  let c = s * r * r * r / f32(p.n);
  for (var i = 0u; i < p.n; i++) { dx[at + i] = r * dy[at + i] * w[i] - c * x[at + i]${residual === undefined ? '' : ' + residual[at + i]'}; }`,
    }),
  ];
};
