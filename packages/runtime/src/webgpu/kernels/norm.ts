/** @file RMSNorm, LayerNorm and RMSNorm by head, and their gradients: one row (or head) a thread, two or three sweeps over it. */
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

export const layerNormKernel: Kernel<'layerNorm'> = (node) => {
  const [x, w, b] = node.inputs as [Tensor, Tensor, Tensor];
  const [y, stats] = node.outputs as readonly [Tensor, Tensor];
  const [m, n] = rowsAndColumns(x);
  return [
    launch({
      label: 'layerNorm',
      inputs: { x: [x, 'f32'], w: [w, 'f32'], b: [b, 'f32'] },
      outputs: { y: [y, 'f32'], stats: [stats, 'vec2<f32>'] },
      uniforms: { m: ['u32', m], n: ['u32', n], eps: ['f32', node.attributes.eps] },
      workgroupSize: [8],
      workgroups: [Math.ceil(m / 8)],
      body: `
  if (gid.x >= p.m) { return; }
  let at = gid.x * p.n;
  var sum = 0.0;
  for (var i = 0u; i < p.n; i++) { sum += x[at + i]; }
  let mean = sum / f32(p.n);
  var s = 0.0;
  for (var i = 0u; i < p.n; i++) { let v = x[at + i] - mean; s = fma(v, v, s); }
  let r = inverseSqrt(s / f32(p.n) + p.eps);
  stats[gid.x] = vec2<f32>(mean, r);
  for (var i = 0u; i < p.n; i++) { y[at + i] = fma((x[at + i] - mean) * r, w[i], b[i]); }`,
    }),
  ];
};

export const layerNormBackwardKernel: Kernel<'layerNormBackward'> = (node) => {
  const [dy, x, w, stats, residual] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [m, n] = rowsAndColumns(x);
  return [
    launch({
      label: 'layerNormBackward',
      inputs: { dy: [dy, 'f32'], x: [x, 'f32'], w: [w, 'f32'], stats: [stats, 'vec2<f32>'], ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
      outputs: { dx: [node.outputs[0]!, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n] },
      workgroupSize: [8],
      workgroups: [Math.ceil(m / 8)],
      body: `
  if (gid.x >= p.m) { return; }
  let at = gid.x * p.n;
  let mean = stats[gid.x].x;
  let r = stats[gid.x].y;
  var sum = 0.0;
  var dot_ = 0.0;
  for (var i = 0u; i < p.n; i++) { let g = dy[at + i] * w[i]; sum += g; dot_ = fma(g, (x[at + i] - mean) * r, dot_); }
  let meanG = sum / f32(p.n);
  let c = dot_ / f32(p.n);
  for (var i = 0u; i < p.n; i++) { dx[at + i] = r * (dy[at + i] * w[i] - meanG - (x[at + i] - mean) * r * c)${residual === undefined ? '' : ' + residual[at + i]'}; }`,
    }),
  ];
};

/** WGSL that finds the head of a thread; heads behind the normed ones hold what is only copied. */
function headOf(heads: number, headDim: number, columns: number): string {
  return `
  let units = ${Math.ceil(columns / headDim)}u;
  if (gid.x >= p.t * units) { return; }
  let row = gid.x / units;
  let h = gid.x % units;
  let at = row * ${columns}u + h * ${headDim}u;
  let end = min(${headDim}u, ${columns}u - h * ${headDim}u);
  let normed = h < ${heads}u;`;
}

export const headNormKernel: Kernel<'headNorm'> = (node) => {
  const [x, w] = node.inputs as [Tensor, Tensor];
  const [y, rstd] = node.outputs as readonly [Tensor, Tensor];
  const { heads, queryHeads, headDim, eps } = node.attributes;
  const [t, c] = rowsAndColumns(x);
  return [
    launch({
      label: 'headNorm',
      inputs: { x: [x, 'f32'], w: [w, 'f32'] },
      outputs: { y: [y, 'f32'], rstd: [rstd, 'f32'] },
      uniforms: { t: ['u32', t], eps: ['f32', eps] },
      workgroupSize: [64],
      workgroups: [Math.ceil((t * Math.ceil(c / headDim)) / 64)],
      body: `${headOf(heads, headDim, c)}
  if (!normed) { for (var i = 0u; i < end; i++) { y[at + i] = x[at + i]; } return; }
  var s = 0.0;
  for (var i = 0u; i < ${headDim}u; i++) { s = fma(x[at + i], x[at + i], s); }
  let r = inverseSqrt(s / ${headDim}.0 + p.eps);
  rstd[row * ${heads}u + h] = r;
  let first = select(${headDim}u, 0u, h < ${queryHeads}u);
  for (var i = 0u; i < ${headDim}u; i++) { y[at + i] = x[at + i] * r * w[first + i]; }`,
    }),
  ];
};

export const headNormBackwardKernel: Kernel<'headNormBackward'> = (node) => {
  const [dy, x, w, rstd] = node.inputs as [Tensor, Tensor, Tensor, Tensor];
  const { heads, queryHeads, headDim } = node.attributes;
  const [t, c] = rowsAndColumns(x);
  return [
    launch({
      label: 'headNormBackward',
      inputs: { dy: [dy, 'f32'], x: [x, 'f32'], w: [w, 'f32'], rstd: [rstd, 'f32'] },
      outputs: { dx: [node.outputs[0]!, 'f32'] },
      uniforms: { t: ['u32', t] },
      workgroupSize: [64],
      workgroups: [Math.ceil((t * Math.ceil(c / headDim)) / 64)],
      body: `${headOf(heads, headDim, c)}
  if (!normed) { for (var i = 0u; i < end; i++) { dx[at + i] = dy[at + i]; } return; }
  let first = select(${headDim}u, 0u, h < ${queryHeads}u);
  let r = rstd[row * ${heads}u + h];
  var s = 0.0;
  for (var i = 0u; i < ${headDim}u; i++) { s = fma(dy[at + i] * w[first + i], x[at + i], s); }
  let k = s * r * r * r / ${headDim}.0;
  for (var i = 0u; i < ${headDim}u; i++) { dx[at + i] = r * dy[at + i] * w[first + i] - k * x[at + i]; }`,
    }),
  ];
};
