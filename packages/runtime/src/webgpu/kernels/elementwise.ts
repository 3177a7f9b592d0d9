/** @file Element by element operations. */
import { rowsAndColumns, sizeOf, type Tensor } from '../../tensor.ts';
import { type KernelSpec, launch, type Launch } from '../launch.ts';
import type { Kernel } from './context.ts';
import { MATH } from './math.ts';
import { PHILOX } from './philox.ts';

/** One thread an element of `out`; the body sees its index as `i`. */
function elementwise(label: string, inputs: KernelSpec['inputs'], out: Tensor, n: number, body: string, uniforms: KernelSpec['uniforms'] = {}, header = MATH): Launch {
  return launch({
    label,
    inputs,
    outputs: { out: [out, 'f32'] },
    uniforms: { count: ['u32', n], ...uniforms },
    header,
    workgroupSize: [64],
    workgroups: [Math.ceil(n / 64)],
    body: `
  let i = gid.x;
  if (i >= p.count) { return; }
  ${body}`,
  });
}

export const addKernel: Kernel<'add'> = (node) => {
  const [a, b] = node.inputs as [Tensor, Tensor];
  return [elementwise('add', { a: [a, 'f32'], b: [b, 'f32'] }, node.outputs[0]!, sizeOf(a.shape), 'out[i] = a[i] + b[i];')];
};

export const activationKernel: Kernel<'activation'> = (node) => {
  const x = node.inputs[0]!;
  return [elementwise('activation', { x: [x, 'f32'] }, node.outputs[0]!, sizeOf(x.shape), `out[i] = act_${node.attributes.kind}(x[i]);`)];
};

export const activationBackwardKernel: Kernel<'activationBackward'> = (node) => {
  const [dy, x] = node.inputs as [Tensor, Tensor];
  return [elementwise('activationBackward', { dy: [dy, 'f32'], x: [x, 'f32'] }, node.outputs[0]!, sizeOf(x.shape), `out[i] = dy[i] * d_${node.attributes.kind}(x[i]);`)];
};

export const swigluKernel: Kernel<'swiglu'> = (node) => {
  const x = node.inputs[0]!;
  const [m, n] = rowsAndColumns(x);
  return [
    elementwise('swiglu', { x: [x, 'f32'] }, node.outputs[0]!, (m * n) / 2, 'let g = i / p.f * 2u * p.f + i % p.f; out[i] = act_silu(x[g]) * x[g + p.f];', {
      f: ['u32', n / 2],
    }),
  ];
};

export const swigluBackwardKernel: Kernel<'swigluBackward'> = (node) => {
  const [dy, x] = node.inputs as [Tensor, Tensor];
  const [m, n] = rowsAndColumns(x);
  return [
    elementwise(
      'swigluBackward',
      { dy: [dy, 'f32'], x: [x, 'f32'] },
      node.outputs[0]!,
      (m * n) / 2,
      'let g = i / p.f * 2u * p.f + i % p.f; let gate = x[g]; let s = sigmoid(gate); out[g] = dy[i] * x[g + p.f] * s * (1.0 + gate * (1.0 - s)); out[g + p.f] = dy[i] * gate * s;',
      { f: ['u32', n / 2] },
    ),
  ];
};

export const dropoutKernel: Kernel<'dropout'> = (node) => {
  const [x, key] = node.inputs as [Tensor, Tensor];
  const { p, site, rest } = node.attributes;
  const body = `let u = (f32(philox(i, p.site, key[0], key[1]) >> 8u) + 0.5) / 16777216.0;
  let kept = select(0.0, x[i] * p.scale, u >= p.chance);
  out[i] = ${rest ? 'x[i] - kept' : 'kept'};`;
  return [elementwise('dropout', { x: [x, 'f32'], key: [key, 'u32'] }, node.outputs[0]!, sizeOf(x.shape), body, { site: ['u32', site], chance: ['f32', p], scale: ['f32', 1 / (1 - p)] }, PHILOX)];
};
