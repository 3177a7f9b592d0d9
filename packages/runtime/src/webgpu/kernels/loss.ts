/** @file Log-probability, entropy and their gradient from a row of logits, whole or in chunks; a row is one thread's or a team's, sums of exponentials against the maximum. */
import type { Node } from '../../graph.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch } from '../launch.ts';
import type { Kernel } from './context.ts';
import { place, teamFor, teamGroups, teamHeader, together } from './team.ts';

export const logSoftmaxKernel: Kernel<'logSoftmax'> = (node, context) => {
  const [logits, targets] = node.inputs as [Tensor, Tensor];
  const [logp, entropy, lse] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const [r, v] = rowsAndColumns(logits);
  const team = teamFor(context, v);
  return [
    launch({
      label: 'logSoftmax',
      inputs: { logits: [logits, 'f32'], targets: [targets, 'i32'] },
      outputs: { logp: [logp, 'f32'], entropy: [entropy, 'f32'], lse: [lse, 'f32'] },
      uniforms: { r: ['u32', r], v: ['u32', v], inverse: ['f32', 1 / node.attributes.temperature] },
      header: teamHeader(team, 'vec2<f32>'),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, r)],
      body: `
  ${place(team, 'p.r')}
  let at = row * p.v;
  var most = vec2<f32>(-3.4e38);
  for (var i = lane; i < p.v; i += LANES) { most.x = max(most.x, logits[at + i]); }${together(team, 'most', (a, b) => `max(${a}, ${b})`)}
  let m = most.x * p.inverse;
  // The sum of the exponentials, and of their products with the shifted logits.
  var s = vec2<f32>();
  for (var i = lane; i < p.v; i += LANES) { let z = logits[at + i] * p.inverse - m; let e = exp(z); s = vec2<f32>(s.x + e, fma(e, z, s.y)); }${together(team, 's')}
  if (!inside || lane != 0u) { return; }
  let ls = log(s.x);
  lse[row] = m + ls;
  entropy[row] = ls - s.y / s.x;
  let t = targets[row];
  logp[row] = select(0.0, logits[at + u32(max(t, 0))] * p.inverse - m - ls, t >= 0 && t < i32(p.v));`,
    }),
  ];
};

export const softmaxChunkKernel: Kernel<'softmaxChunk'> = (node, context) => {
  const [logits, targets, before] = node.inputs as [Tensor, Tensor, Tensor];
  const [r, c] = rowsAndColumns(logits);
  const { temperature, first, before: later } = node.attributes;
  const team = teamFor(context, c);
  return [
    launch({
      label: 'softmaxChunk',
      inputs: { logits: [logits, 'f32'], targets: [targets, 'i32'], ...(later ? { before: [before, 'vec4<f32>'] as const } : {}) },
      outputs: { out: [node.outputs[0]!, 'vec4<f32>'] },
      uniforms: { r: ['u32', r], c: ['u32', c], first: ['i32', first], inverse: ['f32', 1 / temperature] },
      header: teamHeader(team, 'vec2<f32>'),
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, r)],
      body: `
  ${place(team, 'p.r')}
  let at = row * p.c;
  let old = ${later ? 'before[row]' : 'vec4<f32>(-3.4e38, 0.0, 0.0, 0.0)'};
  var most = vec2<f32>(old.x);
  for (var i = lane; i < p.c; i += LANES) { most.x = max(most.x, logits[at + i] * p.inverse); }${together(team, 'most', (a, b) => `max(${a}, ${b})`)}
  let m = most.x;
  // The sum of the exponentials, and of their products with the logits; what came before counts once.
  var s = select(vec2<f32>(), old.yz * exp(old.x - m), lane == 0u);
  for (var i = lane; i < p.c; i += LANES) { let z = logits[at + i] * p.inverse; let e = exp(z - m); s = vec2<f32>(s.x + e, fma(e, z, s.y)); }${together(team, 's')}
  if (!inside || lane != 0u) { return; }
  let t = targets[row] - p.first;
  out[row] = vec4<f32>(m, s.x, s.y, select(old.w, logits[at + u32(clamp(t, 0, i32(p.c) - 1))] * p.inverse, t >= 0 && t < i32(p.c)));`,
    }),
  ];
};

export const softmaxFinishKernel: Kernel<'softmaxFinish'> = (node) => {
  const [statistics, targets] = node.inputs as [Tensor, Tensor];
  const [logp, entropy, lse] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const [r] = rowsAndColumns(statistics);
  return [
    launch({
      label: 'softmaxFinish',
      inputs: { statistics: [statistics, 'vec4<f32>'], targets: [targets, 'i32'] },
      outputs: { logp: [logp, 'f32'], entropy: [entropy, 'f32'], lse: [lse, 'f32'] },
      uniforms: { r: ['u32', r] },
      workgroupSize: [8],
      workgroups: [Math.ceil(r / 8)],
      body: `
  if (gid.x >= p.r) { return; }
  let s = statistics[gid.x];
  let l = s.x + log(s.y);
  lse[gid.x] = l;
  entropy[gid.x] = l - s.z / s.y;
  logp[gid.x] = select(0.0, s.w - l, targets[gid.x] >= 0);`,
    }),
  ];
};

/** The gradient of a row's log-probability and entropy to its logits, which may be columns `first` and on of a larger row. */
function logitGradient(node: Node<'logSoftmaxBackward' | 'softmaxChunkBackward'>, first: number): readonly Launch[] {
  const [logits, targets, lse, entropy, dLogp, dEntropy] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [r, v] = rowsAndColumns(logits);
  const withEntropy = dEntropy !== undefined;
  return [
    launch({
      label: withEntropy ? `${node.op}.entropy` : node.op,
      inputs: {
        logits: [logits, 'f32'],
        targets: [targets, 'i32'],
        lse: [lse, 'f32'],
        dLogp: [dLogp, 'f32'],
        ...(withEntropy ? { entropy: [entropy, 'f32'] as const, dEntropy: [dEntropy, 'f32'] as const } : {}),
      },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { r: ['u32', r], v: ['u32', v], first: ['i32', first], inverse: ['f32', 1 / node.attributes.temperature] },
      workgroupSize: [64],
      workgroups: [Math.ceil((r * v) / 64)],
      body: `
  if (gid.x >= p.r * p.v) { return; }
  let row = gid.x / p.v;
  let t = targets[row];
  let lp = logits[gid.x] * p.inverse - lse[row];
  let e = exp(lp);
  let g = select(0.0, dLogp[row], t >= 0);
  var d = -g * e + select(0.0, g, i32(gid.x % p.v) + p.first == t);
  ${withEntropy ? 'd -= dEntropy[row] * e * (lp + entropy[row]);' : ''}
  out[gid.x] = d * p.inverse;`,
    }),
  ];
}

export const logSoftmaxBackwardKernel: Kernel<'logSoftmaxBackward'> = (node) => logitGradient(node, 0);
export const softmaxChunkBackwardKernel: Kernel<'softmaxChunkBackward'> = (node) => logitGradient(node, node.attributes.first);
