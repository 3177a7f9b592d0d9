/** @file Looking up, gathering and scattering rows. One element a thread. */
import type { Node } from '../../graph.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch } from '../launch.ts';
import type { Kernel } from './context.ts';

export const embedKernel: Kernel<'embed'> = (node) => [embedLaunch(node, node.inputs[1]!, 0)];

/** Of all tokens, those whose row is in `table`, which holds rows `first` and on; the shard with row 0 also places the features. */
export function embedLaunch(node: Node<'embed'>, table: Tensor, first: number): Launch {
  const [ids, whole, features, source] = node.inputs as [Tensor, Tensor, Tensor | undefined, Tensor | undefined];
  const out = node.outputs[0]!;
  const [t, c] = rowsAndColumns(out);
  const visual = features !== undefined && source !== undefined;
  const [rows, total] = [rowsAndColumns(table)[0], rowsAndColumns(whole)[0]];
  return launch({
    label: visual ? 'embed.features' : 'embed',
    inputs: { ids: [ids, 'i32'], table: [table, 'f32'], ...(visual ? { features: [features, 'f32'] as const, source: [source, 'i32'] as const } : {}) },
    outputs: { out: [out, 'f32'] },
    uniforms: { t: ['u32', t], c: ['u32', c], v: ['i32', total], first: ['i32', first], rows: ['i32', rows] },
    workgroupSize: [64],
    workgroups: [Math.ceil((t * c) / 64)],
    body: `
  if (gid.x >= p.t * p.c) { return; }
  let row = gid.x / p.c;
  let column = gid.x % p.c;
  ${visual ? 'let from_ = source[row];\n  if (from_ >= 0) { if (p.first == 0) { out[gid.x] = features[u32(from_) * p.c + column]; } return; }' : ''}
  let id = clamp(ids[row], 0, p.v - 1) - p.first;
  if (id >= 0 && id < p.rows) { out[gid.x] = table[u32(id) * p.c + column]; }`,
  });
}

export const embedTableGradKernel: Kernel<'embedTableGrad'> = (node) => [embedTableGradLaunch(node, node.outputs[0]!, 0)];

/** The gradient of rows `first` and on, as many as `target` has. */
export function embedTableGradLaunch(node: Node<'embedTableGrad'>, target: Tensor, first: number): Launch {
  const [dy, order, starts, rows] = node.inputs as [Tensor, Tensor, Tensor, Tensor];
  const [, c] = rowsAndColumns(dy);
  return launch({
    label: 'embedTableGrad',
    inputs: { dy: [dy, 'f32'], order: [order, 'i32'], starts: [starts, 'i32'], rows: [rows, 'i32'] },
    outputs: { target_: [target, 'f32'] },
    uniforms: { c: ['u32', c], first: ['i32', first], rows_: ['i32', rowsAndColumns(target)[0]] },
    workgroupSize: [64],
    workgroups: [Math.ceil(c / 64), rows.shape[0] ?? 0],
    body: `
  // -1 pads.
  let row = rows[gid.y] - p.first;
  if (gid.x >= p.c || rows[gid.y] < 0 || row < 0 || row >= p.rows_) { return; }
  var s = 0.0;
  for (var i = starts[gid.y]; i < starts[gid.y + 1u]; i++) { s += dy[u32(order[i]) * p.c + gid.x]; }
  target_[u32(row) * p.c + gid.x] += s;`,
  });
}

export const gatherRowsKernel: Kernel<'gatherRows'> = (node) => {
  const [x, index] = node.inputs as [Tensor, Tensor];
  const [r, c] = rowsAndColumns(node.outputs[0]!);
  return [
    launch({
      label: 'gatherRows',
      inputs: { x: [x, 'f32'], index: [index, 'i32'] },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { r: ['u32', r], c: ['u32', c], m: ['i32', rowsAndColumns(x)[0]] },
      workgroupSize: [64],
      workgroups: [Math.ceil((r * c) / 64)],
      body: `
  if (gid.x >= p.r * p.c) { return; }
  let from_ = index[gid.x / p.c];
  out[gid.x] = select(0.0, x[u32(clamp(from_, 0, p.m - 1)) * p.c + gid.x % p.c], from_ >= 0);`,
    }),
  ];
};

export const scatterRowsIntoKernel: Kernel<'scatterRowsInto'> = (node) => {
  const [x, index] = node.inputs as [Tensor, Tensor];
  const target = node.outputs[0]!;
  const [r, c] = rowsAndColumns(x);
  const { column, width } = node.attributes;
  return [
    launch({
      label: 'scatterRowsInto',
      inputs: { x: [x, 'f32'], index: [index, 'i32'] },
      outputs: { target_: [target, 'f32'] },
      uniforms: { r: ['u32', r], c: ['u32', c], column: ['u32', column], width: ['u32', width], m: ['i32', rowsAndColumns(target)[0]] },
      workgroupSize: [64],
      workgroups: [Math.ceil((r * width) / 64)],
      body: `
  if (gid.x >= p.r * p.width) { return; }
  let row = gid.x / p.width;
  let to = index[row];
  if (to < 0 || to >= p.m) { return; }
  target_[u32(to) * p.width + gid.x % p.width] = x[row * p.c + p.column + gid.x % p.width];`,
    }),
  ];
};

export const blendRowsKernel: Kernel<'blendRows'> = (node) => {
  const [x, weights] = node.inputs as [Tensor, Tensor];
  const [r, k] = rowsAndColumns(weights);
  const [, c] = rowsAndColumns(x);
  return [
    launch({
      label: 'blendRows',
      inputs: { x: [x, 'f32'], weights: [weights, 'f32'] },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { r: ['u32', r], c: ['u32', c], k: ['u32', k] },
      workgroupSize: [64],
      workgroups: [Math.ceil((r * c) / 64)],
      body: `
  if (gid.x >= p.r * p.c) { return; }
  let row = gid.x / p.c;
  let column = gid.x % p.c;
  var s = 0.0;
  for (var j = 0u; j < p.k; j++) { s = fma(weights[row * p.k + j], x[(row * p.k + j) * p.c + column], s); }
  out[gid.x] = s;`,
    }),
  ];
};

export const blendRowsBackwardKernel: Kernel<'blendRowsBackward'> = (node) => {
  const [dy, weights] = node.inputs as [Tensor, Tensor];
  const [r, k] = rowsAndColumns(weights);
  const [, c] = rowsAndColumns(dy);
  return [
    launch({
      label: 'blendRowsBackward',
      inputs: { dy: [dy, 'f32'], weights: [weights, 'f32'] },
      outputs: { dx: [node.outputs[0]!, 'f32'] },
      uniforms: { count: ['u32', r * k * c], c: ['u32', c], k: ['u32', k] },
      workgroupSize: [64],
      workgroups: [Math.ceil((r * k * c) / 64)],
      body: `
  if (gid.x >= p.count) { return; }
  let from_ = gid.x / p.c;
  dx[gid.x] = weights[from_] * dy[from_ / p.k * p.c + gid.x % p.c];`,
    }),
  ];
};
