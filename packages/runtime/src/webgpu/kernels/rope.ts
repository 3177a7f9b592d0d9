/** @file Rotary embedding of the first heads of a row; the other columns are copied. One pair (or copied element) a thread. */
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import type { Kernel } from './context.ts';

export const ropeKernel: Kernel<'rope'> = (node) => {
  const [x, positions, table] = node.inputs as [Tensor, Tensor, Tensor];
  const [t, c] = rowsAndColumns(x);
  const { heads, headDim, axes, inverse } = node.attributes;
  const half = headDim / 2;
  const pairs = heads * half;
  const perRow = pairs + (c - heads * headDim);
  return [
    launch({
      label: 'rope',
      inputs: { x: [x, 'f32'], positions: [positions, 'i32'], table: [table, 'vec2<f32>'] },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { t: ['u32', t], c: ['u32', c], last: ['i32', (table.shape[0] ?? 1) - 1] },
      header: `const AXES = array<u32, ${half}>(${axes.map((a) => `${a}u`).join(', ')});`,
      workgroupSize: [64],
      workgroups: [Math.ceil((t * perRow) / 64)],
      body: `
  if (gid.x >= p.t * ${perRow}u) { return; }
  let row = gid.x / ${perRow}u;
  let e = gid.x % ${perRow}u;
  if (e >= ${pairs}u) {
    let at = row * p.c + ${heads * headDim}u + (e - ${pairs}u);
    out[at] = x[at];
    return;
  }
  let j = e % ${half}u;
  let at = row * p.c + e / ${half}u * ${headDim}u + j;
  let turn = table[u32(clamp(positions[AXES[j] * p.t + row], 0, p.last)) * ${half}u + j];
  let cs = turn.x;
  let sn = ${inverse ? '-turn.y' : 'turn.y'};
  let a = x[at];
  let b = x[at + ${half}u];
  out[at] = a * cs - b * sn;
  out[at + ${half}u] = b * cs + a * sn;`,
    }),
  ];
};
