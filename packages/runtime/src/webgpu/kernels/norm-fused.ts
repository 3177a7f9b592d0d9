/**
 * @file Both gradients of RMSNorm in one dispatch. They read the same three tensors and do not depend on each other, so
 * the first workgroups take rows (dx) and the others columns (dw); a training step has two dispatches less a norm.
 */
import type { Node } from '../../graph.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch } from '../launch.ts';

/** More rows than this and a column is summed in parts (`rmsNormWeightGrad`): one thread would walk too far. */
const MAX_ROWS = 4096;

/** The launch for two nodes recorded after each other, when it exists; else undefined. */
export function fuse(first: Node, second: Node | undefined): Launch | undefined {
  if (first.op !== 'rmsNormWeightGrad' || second?.op !== 'rmsNormBackward') return undefined;
  const [dy, x, rstd] = first.inputs as [Tensor, Tensor, Tensor];
  const [dy2, x2, w, rstd2, residual] = second.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [m, n] = rowsAndColumns(x);
  if (dy.id !== dy2.id || x.id !== x2.id || rstd.id !== rstd2.id || m > MAX_ROWS) return undefined;
  const rowGroups = Math.ceil(m / 8);
  return launch({
    label: 'rmsNormBackward.weight',
    inputs: { dy: [dy, 'f32'], x: [x, 'f32'], w: [w, 'f32'], rstd: [rstd, 'f32'], ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
    outputs: { dx: [second.outputs[0]!, 'f32'], dw: [first.outputs[0]!, 'f32'] },
    uniforms: { m: ['u32', m], n: ['u32', n], rowGroups: ['u32', rowGroups] },
    workgroupSize: [8],
    workgroups: [rowGroups + Math.ceil(n / 8)],
    body: `
  if (wid.x >= p.rowGroups) {
    let c = gid.x - p.rowGroups * 8u;
    if (c >= p.n) { return; }
    var s = 0.0;
    for (var r = 0u; r < p.m; r++) { s = fma(dy[r * p.n + c] * x[r * p.n + c], rstd[r], s); }
    dw[c] += s;
    return;
  }
  if (gid.x >= p.m) { return; }
  let at = gid.x * p.n;
  let r = rstd[gid.x];
  var s = 0.0;
  for (var i = 0u; i < p.n; i++) { s = fma(dy[at + i] * w[i], x[at + i], s); }
  let c = s * r * r * r / f32(p.n);
  for (var i = 0u; i < p.n; i++) { dx[at + i] = r * dy[at + i] * w[i] - c * x[at + i]${residual === undefined ? '' : ' + residual[at + i]'}; }`,
  });
}
