/**
 * @file Both gradients of RMSNorm in one dispatch. They read the same three tensors and do not depend on each other, so
 * the first workgroups take rows (dx) and the others columns (dw); a training step has two dispatches less a norm.
 */
import type { Node } from '../../graph.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch } from '../launch.ts';
import type { KernelContext } from './context.ts';
import { sliceHeader, slicePlace, type Slices, sliceSum } from './slices.ts';
import { place, type Team, teamFor, teamGroups, teamHeader, together } from './team.ts';

/** More rows than this and a column is summed in parts (`rmsNormWeightGrad`): one thread would walk too far. */
const MAX_ROWS = 4096;

/** The launch for two nodes recorded after each other, when it exists; else undefined. */
export function fuse(first: Node, second: Node | undefined, context: KernelContext): Launch | undefined {
  if (first.op !== 'rmsNormWeightGrad' || second?.op !== 'rmsNormBackward') return undefined;
  const [dy, x, rstd] = first.inputs as [Tensor, Tensor, Tensor];
  const [dy2, x2, w, rstd2, residual] = second.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [m, n] = rowsAndColumns(x);
  if (dy.id !== dy2.id || x.id !== x2.id || rstd.id !== rstd2.id || m > MAX_ROWS) return undefined;
  // Eight columns a workgroup, so that neighbours read neighbours; 32 threads a column where workgroups share work.
  const slices: Slices = { columns: 8, count: context.cooperative ? 32 : 1 };
  const team: Team = teamFor(context, n, slices.columns * slices.count);
  const rowGroups = teamGroups(team, m);
  return launch({
    label: 'rmsNormBackward.weight',
    inputs: { dy: [dy, 'f32'], x: [x, 'f32'], w: [w, 'f32'], rstd: [rstd, 'f32'], ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
    outputs: { dx: [second.outputs[0]!, 'f32'], dw: [first.outputs[0]!, 'f32'] },
    uniforms: { m: ['u32', m], n: ['u32', n], rowGroups: ['u32', rowGroups] },
    header: `${teamHeader(team)}\n${sliceHeader(slices)}`,
    workgroupSize: [slices.columns, slices.count],
    workgroups: [rowGroups + Math.ceil(n / slices.columns)],
    body: `
  if (wid.x >= p.rowGroups) {
    ${slicePlace(slices, 'p.n', 'p.rowGroups')}
    var s = 0.0;
    for (var r = slice; r < p.m; r += SLICES) { s = fma(dy[r * p.n + c] * x[r * p.n + c], rstd[r], s); }${sliceSum(slices, 's')}
    if (inside && slice == 0u) { dw[c] += s; }
    return;
  }
  ${place(team, 'p.m', `lid.y * ${slices.columns}u + lid.x`)}
  let at = row * p.n;
  let r = rstd[row];
  var s = 0.0;
  for (var i = lane; i < p.n; i += LANES) { s = fma(dy[at + i] * w[i], x[at + i], s); }${together(team, 's')}
  if (!inside) { return; }
  let c = s * r * r * r / f32(p.n);
  for (var i = lane; i < p.n; i += LANES) { dx[at + i] = r * dy[at + i] * w[i] - c * x[at + i]${residual === undefined ? '' : ' + residual[at + i]'}; }`,
  });
}
