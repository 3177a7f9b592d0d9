/** @file Sums over rows and over everything, in two passes with a fixed order (no atomics: the same sums on every run). */
import type { Node } from '../../graph.ts';
import { rowsAndColumns, sizeOf, type Tensor } from '../../tensor.ts';
import { type KernelSpec, launch, type Launch } from '../launch.ts';
import type { Kernel, KernelContext } from './context.ts';
import { place, teamFor, teamGroups, teamHeader, together } from './team.ts';

/** target[c] += sum of the parts of column c. */
function addParts(target: Tensor, scratch: Tensor): Launch {
  const [parts, n] = rowsAndColumns(scratch);
  return launch({
    label: 'columnSum.parts',
    inputs: { scratch: [scratch, 'f32'] },
    outputs: { target_: [target, 'f32'] },
    uniforms: { n: ['u32', n], parts: ['u32', parts] },
    workgroupSize: [64],
    workgroups: [Math.ceil(n / 64)],
    body: `
  if (gid.x >= p.n) { return; }
  var s = 0.0;
  for (var i = 0u; i < p.parts; i++) { s += scratch[i * p.n + gid.x]; }
  target_[gid.x] += s;`,
  });
}

/** target[c] += sum over rows r of `term` (WGSL in r and c = gid.x), in parts of rowsPerPart rows. */
export function columnSums(label: string, inputs: KernelSpec['inputs'], term: string, target: Tensor, scratch: Tensor, rows: number, rowsPerPart: number, header = ''): readonly Launch[] {
  const [, n] = rowsAndColumns(scratch);
  return [
    launch({
      label,
      inputs,
      outputs: { scratch: [scratch, 'f32'] },
      uniforms: { m: ['u32', rows], n: ['u32', n], rows: ['u32', rowsPerPart] },
      header,
      workgroupSize: [64],
      workgroups: [Math.ceil(n / 64), Math.ceil(rows / rowsPerPart)],
      body: `
  if (gid.x >= p.n) { return; }
  let c = gid.x;
  var s = 0.0;
  for (var r = wid.y * p.rows; r < min(p.m, (wid.y + 1u) * p.rows); r++) { s += ${term}; }
  scratch[wid.y * p.n + c] = s;`,
    }),
    addParts(target, scratch),
  ];
}

export const columnSumKernel: Kernel<'columnSum'> = (node) => {
  const x = node.inputs[0]!;
  const [target, scratch] = node.outputs as readonly [Tensor, Tensor];
  return columnSums('columnSum', { x: [x, 'f32'] }, 'x[r * p.n + c]', target, scratch, rowsAndColumns(x)[0], node.attributes.rowsPerPart);
};

export const rmsNormWeightGradKernel: Kernel<'rmsNormWeightGrad'> = (node) => {
  const [dy, x, rstd] = node.inputs as [Tensor, Tensor, Tensor];
  const [target, scratch] = node.outputs as readonly [Tensor, Tensor];
  const inputs = { dy: [dy, 'f32'], x: [x, 'f32'], rstd: [rstd, 'f32'] } as const;
  return columnSums('rmsNormWeightGrad', inputs, 'dy[r * p.n + c] * x[r * p.n + c] * rstd[r]', target, scratch, rowsAndColumns(x)[0], node.attributes.rowsPerPart);
};

export const layerNormWeightGradKernel: Kernel<'layerNormWeightGrad'> = (node) => {
  const [dy, x, stats] = node.inputs as [Tensor, Tensor, Tensor];
  const [target, scratch] = node.outputs as readonly [Tensor, Tensor];
  const inputs = { dy: [dy, 'f32'], x: [x, 'f32'], stats: [stats, 'vec2<f32>'] } as const;
  return columnSums('layerNormWeightGrad', inputs, 'dy[r * p.n + c] * (x[r * p.n + c] - stats[r].x) * stats[r].y', target, scratch, rowsAndColumns(x)[0], node.attributes.rowsPerPart);
};

export const headNormWeightGradKernel: Kernel<'headNormWeightGrad'> = (node) => {
  const [dy, x, rstd] = node.inputs as [Tensor, Tensor, Tensor];
  const [target, scratch] = node.outputs as readonly [Tensor, Tensor];
  const { heads, queryHeads, headDim, rowsPerPart } = node.attributes;
  const [t, columns] = rowsAndColumns(x);
  // Column c of the weight gathers from every head it norms: the queries' for the first half, the keys' for the second.
  const header = `
fn ofHeads(r: u32, c: u32) -> f32 {
  let keys = c >= ${headDim}u;
  let e = c % ${headDim}u;
  var s = 0.0;
  for (var h = select(0u, ${queryHeads}u, keys); h < select(${queryHeads}u, ${heads}u, keys); h++) {
    let at = r * ${columns}u + h * ${headDim}u + e;
    s += dy[at] * x[at] * rstd[r * ${heads}u + h];
  }
  return s;
}`;
  return columnSums('headNormWeightGrad', { dy: [dy, 'f32'], x: [x, 'f32'], rstd: [rstd, 'f32'] }, 'ofHeads(r, c)', target, scratch, t, rowsPerPart, header);
};

export const sumSquaresKernel: Kernel<'sumSquares'> = (node, context) => sumSquaresLaunches(node, [node.inputs[0]!], context);

/** The sum over the given pieces of the input, which share the partial sums among them. A part is as a row: one thread's, or a team's. */
export function sumSquaresLaunches(node: Node<'sumSquares'>, pieces: readonly Tensor[], context: KernelContext): readonly Launch[] {
  const [out, scratch] = node.outputs as readonly [Tensor, Tensor];
  const parts = Math.floor(node.attributes.parts / pieces.length);
  const longest = Math.max(...pieces.map((x) => sizeOf(x.shape)));
  const team = teamFor(context, longest / parts);
  const last = teamFor(context, parts * pieces.length, 1);
  return [
    ...pieces.map((x, i) => launch({
      label: 'sumSquares',
      inputs: { x: [x, 'f32'] },
      outputs: { scratch: [scratch, 'f32'] },
      uniforms: { n: ['u32', sizeOf(x.shape)], parts: ['u32', parts], first: ['u32', i * parts] },
      header: teamHeader(team),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, parts)],
      body: `
  ${place(team, 'p.parts')}
  var s = 0.0;
  for (var i = row * LANES + lane; i < p.n; i += p.parts * LANES) { s = fma(x[i], x[i], s); }${together(team, 's')}
  if (inside && lane == 0u) { scratch[p.first + row] = s; }`,
    })),
    launch({
      label: 'sumSquares.parts',
      inputs: { scratch: [scratch, 'f32'] },
      outputs: { out: [out, 'f32'] },
      uniforms: { parts: ['u32', parts * pieces.length], one: ['u32', 1] },
      header: teamHeader(last),
      workgroupSize: [last.size],
      workgroups: [1],
      body: `
  ${place(last, 'p.one')}
  var s = 0.0;
  for (var i = lane; i < p.parts; i += LANES) { s += scratch[i]; }${together(last, 's')}
  if (inside && lane == 0u) { out[0] = s; }`,
    }),
  ];
}
