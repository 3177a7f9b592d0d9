/** @file Sums over rows and over everything, in two passes with a fixed order (no atomics: the same sums on every run). */
import { rowsAndColumns, sizeOf, type Tensor } from '../../tensor.ts';
import { launch, type Launch } from '../launch.ts';
import type { Kernel } from './context.ts';

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

export const columnSumKernel: Kernel<'columnSum'> = (node) => {
  const x = node.inputs[0]!;
  const [target, scratch] = node.outputs as readonly [Tensor, Tensor];
  const [m, n] = rowsAndColumns(x);
  const rowsPerPart = node.attributes.rowsPerPart;
  return [
    launch({
      label: 'columnSum',
      inputs: { x: [x, 'f32'] },
      outputs: { scratch: [scratch, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n], rows: ['u32', rowsPerPart] },
      workgroupSize: [64],
      workgroups: [Math.ceil(n / 64), Math.ceil(m / rowsPerPart)],
      body: `
  if (gid.x >= p.n) { return; }
  var s = 0.0;
  for (var r = wid.y * p.rows; r < min(p.m, (wid.y + 1u) * p.rows); r++) { s += x[r * p.n + gid.x]; }
  scratch[wid.y * p.n + gid.x] = s;`,
    }),
    addParts(target, scratch),
  ];
};

export const rmsNormWeightGradKernel: Kernel<'rmsNormWeightGrad'> = (node) => {
  const [dy, x, rstd] = node.inputs as [Tensor, Tensor, Tensor];
  const [target, scratch] = node.outputs as readonly [Tensor, Tensor];
  const [m, n] = rowsAndColumns(x);
  const rowsPerPart = node.attributes.rowsPerPart;
  return [
    launch({
      label: 'rmsNormWeightGrad',
      inputs: { dy: [dy, 'f32'], x: [x, 'f32'], rstd: [rstd, 'f32'] },
      outputs: { scratch: [scratch, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n], rows: ['u32', rowsPerPart] },
      workgroupSize: [64],
      workgroups: [Math.ceil(n / 64), Math.ceil(m / rowsPerPart)],
      body: `
  if (gid.x >= p.n) { return; }
  var s = 0.0;
  for (var r = wid.y * p.rows; r < min(p.m, (wid.y + 1u) * p.rows); r++) { s += dy[r * p.n + gid.x] * x[r * p.n + gid.x] * rstd[r]; }
  scratch[wid.y * p.n + gid.x] = s;`,
    }),
    addParts(target, scratch),
  ];
};

export const sumSquaresKernel: Kernel<'sumSquares'> = (node) => {
  const x = node.inputs[0]!;
  const [out, scratch] = node.outputs as readonly [Tensor, Tensor];
  const n = sizeOf(x.shape);
  const parts = node.attributes.parts;
  return [
    launch({
      label: 'sumSquares',
      inputs: { x: [x, 'f32'] },
      outputs: { scratch: [scratch, 'f32'] },
      uniforms: { n: ['u32', n], parts: ['u32', parts] },
      workgroupSize: [8],
      workgroups: [Math.ceil(parts / 8)],
      body: `
  if (gid.x >= p.parts) { return; }
  var s = 0.0;
  for (var i = gid.x; i < p.n; i += p.parts) { s = fma(x[i], x[i], s); }
  scratch[gid.x] = s;`,
    }),
    launch({
      label: 'sumSquares.parts',
      inputs: { scratch: [scratch, 'f32'] },
      outputs: { out: [out, 'f32'] },
      uniforms: { parts: ['u32', parts] },
      workgroupSize: [1],
      workgroups: [1],
      body: `
  var s = 0.0;
  for (var i = 0u; i < p.parts; i++) { s += scratch[i]; }
  out[0] = s;`,
    }),
  ];
};
