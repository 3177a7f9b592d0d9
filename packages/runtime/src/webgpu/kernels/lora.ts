/** @file The upper half of low-rank adapters, part by part (q, k, v or gate, up in one projection). */
import { rowsAndColumns, sizeOf, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import { columnSums } from './reduce.ts';
import type { Kernel } from './context.ts';
import { layout, valueOf, weightInputs } from './packed.ts';
import { sliceHeader, slicePlace, slicesFor, sliceSum } from './slices.ts';
import { parts } from './lora-parts.ts';
import { place, teamFor, teamGroups, teamHeader, together } from './team.ts';

export const loraUpKernel: Kernel<'loraUp'> = (node) => {
  const [base, down, b] = node.inputs as [Tensor, Tensor, Tensor];
  const [m, n] = rowsAndColumns(base);
  const { rank, ends } = node.attributes;
  return [
    launch({
      label: 'loraUp',
      inputs: { base: [base, 'f32'], down: [down, 'f32'], b: [b, 'f32'] },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n] },
      header: parts(node.attributes),
      workgroupSize: [64],
      workgroups: [Math.ceil(n / 64), m],
      body: `
  if (gid.x >= p.n) { return; }
  let part = partOf(gid.x);
  let at = gid.y * ${rank * ends.length}u + part * ${rank}u;
  var s = 0.0;
  for (var r = 0u; r < ${rank}u; r++) { s = fma(down[at + r], b[gid.x * ${rank}u + r], s); }
  out[gid.y * p.n + gid.x] = fma(SCALES[part], s, base[gid.y * p.n + gid.x]);`,
    }),
  ];
};

export const loraUpGradDownKernel: Kernel<'loraUpGradDown'> = (node, context) => {
  const [dy, b] = node.inputs as [Tensor, Tensor];
  const [m, n] = rowsAndColumns(dy);
  const { rank, ends } = node.attributes;
  const width = rank * ends.length;
  const team = teamFor(context, n / ends.length);
  return [
    launch({
      label: 'loraUpGradDown',
      inputs: { dy: [dy, 'f32'], b: [b, 'f32'] },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n] },
      header: `${parts(node.attributes)}\n${teamHeader(team)}`,
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, m * width)],
      body: `
  ${place(team, `(p.m * ${width}u)`)}
  let token = row / ${width}u;
  let part = row % ${width}u / ${rank}u;
  let r = row % ${rank}u;
  var first = 0u;
  if (part > 0u) { first = ENDS[part - 1u]; }
  var s = 0.0;
  for (var c = first + lane; c < ENDS[part]; c += LANES) { s = fma(dy[token * p.n + c], b[c * ${rank}u + r], s); }${together(team, 's')}
  if (inside && lane == 0u) { out[row] = SCALES[part] * s; }`,
    }),
  ];
};

export const loraUpGradBKernel: Kernel<'loraUpGradB'> = (node, context) => {
  const [dy, down] = node.inputs as [Tensor, Tensor];
  const [m, n] = rowsAndColumns(dy);
  const { rank, ends } = node.attributes;
  const slices = slicesFor(context, m);
  return [
    launch({
      label: 'loraUpGradB',
      inputs: { dy: [dy, 'f32'], down: [down, 'f32'] },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n] },
      header: `${parts(node.attributes)}\n${sliceHeader(slices)}`,
      workgroupSize: [slices.columns, slices.count],
      workgroups: [Math.ceil((n * rank) / slices.columns)],
      body: `
  ${slicePlace(slices, `(p.n * ${rank}u)`)}
  let column = c / ${rank}u;
  let part = partOf(column);
  let at = part * ${rank}u + c % ${rank}u;
  var s = 0.0;
  for (var row = slice; row < p.m; row += SLICES) { s = fma(dy[row * p.n + column], down[row * ${rank * ends.length}u + at], s); }${sliceSum(slices, 's')}
  if (inside && slice == 0u) { out[c] += SCALES[part] * s; }`,
    }),
  ];
};

export const doraNormKernel: Kernel<'doraNorm'> = (node, context) => {
  const [a, w] = node.inputs as [Tensor, Tensor];
  const { rank, weight } = node.attributes;
  const k = rowsAndColumns(a)[1];
  const n = sizeOf(node.outputs[0]!.shape);
  const { perWord, words, blocks } = weight === null ? { perWord: 1, words: k, blocks: 0 } : layout(weight);
  const at = weight === null ? 'w[row * p.k + i]' : `value(data[row * ${words}u + i / ${perWord}u], i % ${perWord}u, row * ${blocks}u + i / ${weight.blockSize}u)`;
  const team = teamFor(context, k);
  return [
    launch({
      label: 'doraNorm',
      inputs: { ...(weight === null ? { w: [w, 'f32'] as const } : weightInputs(node.inputs, weight)), a: [a, 'f32'], b: [node.inputs.at(-1)!, 'f32'] },
      outputs: { norm: [node.outputs[0]!, 'f32'] },
      uniforms: { n: ['u32', n], k: ['u32', k] },
      header: `${parts(node.attributes)}${weight === null ? '' : valueOf(weight)}\n${teamHeader(team)}`,
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, n)],
      body: `
  ${place(team, 'p.n')}
  let part = partOf(row);
  var sum = 0.0;
  for (var i = lane; i < p.k; i += LANES) {
    var v = 0.0;
    for (var r = 0u; r < ${rank}u; r++) { v = fma(b[row * ${rank}u + r], a[(part * ${rank}u + r) * p.k + i], v); }
    let whole = fma(SCALES[part], v, ${at});
    sum = fma(whole, whole, sum);
  }${together(team, 'sum')}
  if (inside && lane == 0u) { norm[row] = sqrt(sum); }`,
    }),
  ];
};

export const doraScaleKernel: Kernel<'doraScale'> = (node) => {
  const { bias, residual } = node.attributes;
  const [x, magnitude, norm] = node.inputs as [Tensor, Tensor, Tensor];
  const [m, n] = rowsAndColumns(x);
  return [
    launch({
      label: 'doraScale',
      inputs: {
        x: [x, 'f32'], magnitude: [magnitude, 'f32'], norm: [norm, 'f32'],
        ...(bias ? { bias: [node.inputs[3]!, 'f32'] as const } : {}), ...(residual ? { residual: [node.inputs[bias ? 4 : 3]!, 'f32'] as const } : {}),
      },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { m: ['u32', m], n: ['u32', n] },
      header: parts(node.attributes),
      workgroupSize: [64],
      workgroups: [Math.ceil((m * n) / 64)],
      body: `
  if (gid.x >= p.m * p.n) { return; }
  let c = gid.x % p.n;
  let factor = select(magnitude[c] / norm[c], 1.0, SCALES[partOf(c)] == 0.0);
  out[gid.x] = x[gid.x] * factor${bias ? ' + bias[c]' : ''}${residual ? ' + residual[gid.x]' : ''};`,
    }),
  ];
};

export const doraMagnitudeGradKernel: Kernel<'doraMagnitudeGrad'> = (node) => {
  const [dy, x, norm] = node.inputs as [Tensor, Tensor, Tensor];
  const [target, scratch] = node.outputs as readonly [Tensor, Tensor];
  const header = `${parts(node.attributes)}
fn term(r: u32, c: u32, n: u32) -> f32 { if (SCALES[partOf(c)] == 0.0) { return 0.0; } return dy[r * n + c] * x[r * n + c] / norm[c]; }`;
  const inputs = { dy: [dy, 'f32'], x: [x, 'f32'], norm: [norm, 'f32'] } as const;
  return columnSums('doraMagnitudeGrad', inputs, 'term(r, c, p.n)', target, scratch, rowsAndColumns(x)[0], node.attributes.rowsPerPart, header);
};
