/** @file RMSNorm, LayerNorm and RMSNorm by head, and their gradients: two or three sweeps over a row (or head), by one thread or a team. */
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import type { Kernel } from './context.ts';
import { place, type Team, teamFor, teamGroups, teamHeader, together } from './team.ts';

export const rmsNormKernel: Kernel<'rmsNorm'> = (node, context) => {
  const [x, w] = node.inputs as [Tensor, Tensor];
  const [y, rstd] = node.outputs as readonly [Tensor, Tensor];
  const [m, n] = rowsAndColumns(x);
  const team = teamFor(context, n);
  return [
    launch({
      label: 'rmsNorm',
      inputs: { x: [x, 'f32'], w: [w, 'f32'] },
      outputs: { y: [y, 'f32'], rstd: [rstd, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n], eps: ['f32', node.attributes.eps] },
      header: teamHeader(team),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, m)],
      body: `
  ${place(team, 'p.m')}
  let at = row * p.n;
  var s = 0.0;
  for (var i = lane; i < p.n; i += LANES) { let v = x[at + i]; s = fma(v, v, s); }${together(team, 's')}
  let r = inverseSqrt(s / f32(p.n) + p.eps);
  if (!inside) { return; }
  if (lane == 0u) { rstd[row] = r; }
  for (var i = lane; i < p.n; i += LANES) { y[at + i] = x[at + i] * r * w[i]; }`,
    }),
  ];
};

export const rmsNormBackwardKernel: Kernel<'rmsNormBackward'> = (node, context) => {
  const [dy, x, w, rstd, residual] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [m, n] = rowsAndColumns(x);
  const team = teamFor(context, n);
  return [
    launch({
      label: 'rmsNormBackward',
      inputs: { dy: [dy, 'f32'], x: [x, 'f32'], w: [w, 'f32'], rstd: [rstd, 'f32'], ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
      outputs: { dx: [node.outputs[0]!, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n] },
      header: teamHeader(team),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, m)],
      body: `
  ${place(team, 'p.m')}
  let at = row * p.n;
  let r = rstd[row];
  var s = 0.0;
  for (var i = lane; i < p.n; i += LANES) { s = fma(dy[at + i] * w[i], x[at + i], s); }${together(team, 's')}
  if (!inside) { return; }
  let c = s * r * r * r / f32(p.n);
  for (var i = lane; i < p.n; i += LANES) { dx[at + i] = r * dy[at + i] * w[i] - c * x[at + i]${residual === undefined ? '' : ' + residual[at + i]'}; }`,
    }),
  ];
};

export const layerNormKernel: Kernel<'layerNorm'> = (node, context) => {
  const [x, w, b] = node.inputs as [Tensor, Tensor, Tensor];
  const [y, stats] = node.outputs as readonly [Tensor, Tensor];
  const [m, n] = rowsAndColumns(x);
  const team = teamFor(context, n);
  return [
    launch({
      label: 'layerNorm',
      inputs: { x: [x, 'f32'], w: [w, 'f32'], b: [b, 'f32'] },
      outputs: { y: [y, 'f32'], stats: [stats, 'vec2<f32>'] },
      uniforms: { m: ['u32', m], n: ['u32', n], eps: ['f32', node.attributes.eps] },
      header: teamHeader(team),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, m)],
      body: `
  ${place(team, 'p.m')}
  let at = row * p.n;
  var sum = 0.0;
  for (var i = lane; i < p.n; i += LANES) { sum += x[at + i]; }${together(team, 'sum')}
  let mean = sum / f32(p.n);
  var s = 0.0;
  for (var i = lane; i < p.n; i += LANES) { let v = x[at + i] - mean; s = fma(v, v, s); }${together(team, 's')}
  let r = inverseSqrt(s / f32(p.n) + p.eps);
  if (!inside) { return; }
  if (lane == 0u) { stats[row] = vec2<f32>(mean, r); }
  for (var i = lane; i < p.n; i += LANES) { y[at + i] = fma((x[at + i] - mean) * r, w[i], b[i]); }`,
    }),
  ];
};

export const layerNormBackwardKernel: Kernel<'layerNormBackward'> = (node, context) => {
  const [dy, x, w, stats, residual] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [m, n] = rowsAndColumns(x);
  const team = teamFor(context, n);
  return [
    launch({
      label: 'layerNormBackward',
      inputs: { dy: [dy, 'f32'], x: [x, 'f32'], w: [w, 'f32'], stats: [stats, 'vec2<f32>'], ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
      outputs: { dx: [node.outputs[0]!, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n] },
      header: teamHeader(team, 'vec2<f32>'),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, m)],
      body: `
  ${place(team, 'p.m')}
  let at = row * p.n;
  let mean = stats[row].x;
  let r = stats[row].y;
  // The sum of the gradient, and of its product with the normed row.
  var s = vec2<f32>();
  for (var i = lane; i < p.n; i += LANES) { let g = dy[at + i] * w[i]; s = vec2<f32>(s.x + g, fma(g, (x[at + i] - mean) * r, s.y)); }${together(team, 's')}
  if (!inside) { return; }
  let meanG = s.x / f32(p.n);
  let c = s.y / f32(p.n);
  for (var i = lane; i < p.n; i += LANES) { dx[at + i] = r * (dy[at + i] * w[i] - meanG - (x[at + i] - mean) * r * c)${residual === undefined ? '' : ' + residual[at + i]'}; }`,
    }),
  ];
};

/** WGSL that finds the token and head of a row; heads behind the normed ones hold what is only copied. */
function headOf(team: Team, heads: number, headDim: number, columns: number): string {
  return `
  let units = ${Math.ceil(columns / headDim)}u;
  ${place(team, '(p.t * units)')}
  let token = row / units;
  let h = row % units;
  let at = token * ${columns}u + h * ${headDim}u;
  let end = min(${headDim}u, ${columns}u - h * ${headDim}u);
  let normed = h < ${heads}u;`;
}

export const headNormKernel: Kernel<'headNorm'> = (node, context) => {
  const [x, w] = node.inputs as [Tensor, Tensor];
  const [y, rstd] = node.outputs as readonly [Tensor, Tensor];
  const { heads, queryHeads, headDim, eps } = node.attributes;
  const [t, c] = rowsAndColumns(x);
  const units = t * Math.ceil(c / headDim);
  const team = teamFor(context, headDim, 64);
  return [
    launch({
      label: 'headNorm',
      inputs: { x: [x, 'f32'], w: [w, 'f32'] },
      outputs: { y: [y, 'f32'], rstd: [rstd, 'f32'] },
      uniforms: { t: ['u32', t], eps: ['f32', eps] },
      header: teamHeader(team),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, units)],
      body: `${headOf(team, heads, headDim, c)}
  var s = 0.0;
  if (normed) { for (var i = lane; i < ${headDim}u; i += LANES) { s = fma(x[at + i], x[at + i], s); } }${together(team, 's')}
  if (!inside) { return; }
  if (!normed) { for (var i = lane; i < end; i += LANES) { y[at + i] = x[at + i]; } return; }
  let r = inverseSqrt(s / ${headDim}.0 + p.eps);
  if (lane == 0u) { rstd[token * ${heads}u + h] = r; }
  let first = select(${headDim}u, 0u, h < ${queryHeads}u);
  for (var i = lane; i < ${headDim}u; i += LANES) { y[at + i] = x[at + i] * r * w[first + i]; }`,
    }),
  ];
};

export const headNormBackwardKernel: Kernel<'headNormBackward'> = (node, context) => {
  const [dy, x, w, rstd] = node.inputs as [Tensor, Tensor, Tensor, Tensor];
  const { heads, queryHeads, headDim } = node.attributes;
  const [t, c] = rowsAndColumns(x);
  const units = t * Math.ceil(c / headDim);
  const team = teamFor(context, headDim, 64);
  return [
    launch({
      label: 'headNormBackward',
      inputs: { dy: [dy, 'f32'], x: [x, 'f32'], w: [w, 'f32'], rstd: [rstd, 'f32'] },
      outputs: { dx: [node.outputs[0]!, 'f32'] },
      uniforms: { t: ['u32', t] },
      header: teamHeader(team),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, units)],
      body: `${headOf(team, heads, headDim, c)}
  let first = select(${headDim}u, 0u, h < ${queryHeads}u);
  var s = 0.0;
  if (normed) { for (var i = lane; i < ${headDim}u; i += LANES) { s = fma(dy[at + i] * w[first + i], x[at + i], s); } }${together(team, 's')}
  if (!inside) { return; }
  if (!normed) { for (var i = lane; i < end; i += LANES) { dx[at + i] = dy[at + i]; } return; }
  let r = rstd[token * ${heads}u + h];
  let k = s * r * r * r / ${headDim}.0;
  for (var i = lane; i < ${headDim}u; i += LANES) { dx[at + i] = r * dy[at + i] * w[first + i] - k * x[at + i]; }`,
    }),
  ];
};
