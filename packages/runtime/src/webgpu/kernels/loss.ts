/** @file Log-probability, entropy and their gradient from a row of logits; one row a thread, sums of exponentials against the maximum. */
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import type { Kernel } from './context.ts';

export const logSoftmaxKernel: Kernel<'logSoftmax'> = (node) => {
  const [logits, targets] = node.inputs as [Tensor, Tensor];
  const [logp, entropy, lse] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const [r, v] = rowsAndColumns(logits);
  return [
    launch({
      label: 'logSoftmax',
      inputs: { logits: [logits, 'f32'], targets: [targets, 'i32'] },
      outputs: { logp: [logp, 'f32'], entropy: [entropy, 'f32'], lse: [lse, 'f32'] },
      uniforms: { r: ['u32', r], v: ['u32', v], inverse: ['f32', 1 / node.attributes.temperature] },
      workgroupSize: [8],
      workgroups: [Math.ceil(r / 8)],
      body: `
  if (gid.x >= p.r) { return; }
  let at = gid.x * p.v;
  var m = -3.4e38;
  for (var i = 0u; i < p.v; i++) { m = max(m, logits[at + i]); }
  m = m * p.inverse;
  var s = 0.0;
  var w = 0.0;
  for (var i = 0u; i < p.v; i++) { let z = logits[at + i] * p.inverse - m; let e = exp(z); s += e; w = fma(e, z, w); }
  let ls = log(s);
  lse[gid.x] = m + ls;
  entropy[gid.x] = ls - w / s;
  let t = targets[gid.x];
  logp[gid.x] = select(0.0, logits[at + u32(max(t, 0))] * p.inverse - m - ls, t >= 0 && t < i32(p.v));`,
    }),
  ];
};

export const logSoftmaxBackwardKernel: Kernel<'logSoftmaxBackward'> = (node) => {
  const [logits, targets, lse, entropy, dLogp, dEntropy] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [r, v] = rowsAndColumns(logits);
  const withEntropy = dEntropy !== undefined;
  return [
    launch({
      label: withEntropy ? 'logSoftmaxBackward.entropy' : 'logSoftmaxBackward',
      inputs: {
        logits: [logits, 'f32'],
        targets: [targets, 'i32'],
        lse: [lse, 'f32'],
        dLogp: [dLogp, 'f32'],
        ...(withEntropy ? { entropy: [entropy, 'f32'] as const, dEntropy: [dEntropy, 'f32'] as const } : {}),
      },
      outputs: { out: [node.outputs[0]!, 'f32'] },
      uniforms: { r: ['u32', r], v: ['u32', v], inverse: ['f32', 1 / node.attributes.temperature] },
      workgroupSize: [64],
      workgroups: [Math.ceil((r * v) / 64)],
      body: `
  if (gid.x >= p.r * p.v) { return; }
  let row = gid.x / p.v;
  let t = targets[row];
  let lp = logits[gid.x] * p.inverse - lse[row];
  let e = exp(lp);
  let g = select(0.0, dLogp[row], t >= 0);
  var d = -g * e + select(0.0, g, i32(gid.x % p.v) == t);
  ${withEntropy ? 'd -= dEntropy[row] * e * (lp + entropy[row]);' : ''}
  out[gid.x] = d * p.inverse;`,
    }),
  ];
};
