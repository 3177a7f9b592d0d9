/**
 * @file Optimisers over a whole parameter storage in one dispatch. AdamW and SGD: one parameter a thread. AdamW with 8-bit
 * moments: a workgroup has a block of 256 parameters, a thread four of them (one word of codes).
 */
import { HYPER, SGD_HYPER } from '../../ops/optimizer.ts';
import { sizeOf, type Tensor } from '../../tensor.ts';
import { launch, unroll } from '../launch.ts';
import type { Kernel } from './context.ts';

/** WGSL: `scale`, by which gradients are multiplied; `finite`, false when the norm is infinity or NaN, which skips the update. */
function clipping({ gradScale, maxNorm }: { readonly gradScale: number; readonly maxNorm: number }): string {
  return `
  var scale = hyper[${gradScale}];
  let norm = sqrt(norm2[0]) * abs(scale);
  let finite = (bitcast<u32>(norm) & 0x7f800000u) != 0x7f800000u;
  let limit = hyper[${maxNorm}];
  if (limit > 0.0 && norm > limit) { scale = scale * limit / (norm + 1e-6); }`;
}

export const adamwKernel: Kernel<'adamw'> = (node) => {
  const [hyper, norm2] = node.inputs as [Tensor, Tensor];
  const [parameter, gradient, m, v] = node.outputs as readonly [Tensor, Tensor, Tensor, Tensor];
  const n = sizeOf(parameter.shape);
  return [
    launch({
      label: 'adamw',
      inputs: { hyper: [hyper, 'f32'], norm2: [norm2, 'f32'] },
      outputs: { parameter: [parameter, 'f32'], gradient: [gradient, 'f32'], m: [m, 'f32'], v: [v, 'f32'] },
      uniforms: { n: ['u32', n], decayed: ['u32', node.attributes.decayed] },
      workgroupSize: [64],
      workgroups: [Math.ceil(n / 64)],
      body: `
  if (gid.x >= p.n) { return; }
  let i = gid.x;${clipping(HYPER)}
  let g = gradient[i] * scale;
  gradient[i] = 0.0;
  if (!finite) { return; }
  let b1 = hyper[${HYPER.beta1}];
  let b2 = hyper[${HYPER.beta2}];
  let lr = hyper[${HYPER.learningRate}];
  let mi = b1 * m[i] + (1.0 - b1) * g;
  let vi = b2 * v[i] + (1.0 - b2) * g * g;
  m[i] = mi;
  v[i] = vi;
  let decay = select(0.0, hyper[${HYPER.weightDecay}], i < p.decayed);
  parameter[i] = parameter[i] * (1.0 - lr * decay) - lr / hyper[${HYPER.correction1}] * mi / (sqrt(vi / hyper[${HYPER.correction2}]) + hyper[${HYPER.eps}]);`,
    }),
  ];
};

export const sgdKernel: Kernel<'sgd'> = (node) => {
  const [hyper, norm2] = node.inputs as [Tensor, Tensor];
  const [parameter, gradient, momentum] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const { decayed, nesterov, decoupledWeightDecay } = node.attributes;
  const n = sizeOf(parameter.shape);
  return [
    launch({
      label: `sgd${nesterov ? '.nesterov' : ''}`,
      inputs: { hyper: [hyper, 'f32'], norm2: [norm2, 'f32'] },
      outputs: { parameter: [parameter, 'f32'], gradient: [gradient, 'f32'], momentum: [momentum, 'f32'] },
      uniforms: { n: ['u32', n], decayed: ['u32', decayed] },
      workgroupSize: [64],
      workgroups: [Math.ceil(n / 64)],
      body: `
  if (gid.x >= p.n) { return; }
  let i = gid.x;${clipping(SGD_HYPER)}
  var g = gradient[i] * scale;
  gradient[i] = 0.0;
  if (!finite) { return; }
  let lr = hyper[${SGD_HYPER.learningRate}];
  let mu = hyper[${SGD_HYPER.momentum}];
  let decay = select(0.0, hyper[${SGD_HYPER.weightDecay}], i < p.decayed);
  let old = parameter[i];
  ${decoupledWeightDecay ? '' : 'g += decay * old;'}
  let b = mu * momentum[i] + g;
  momentum[i] = b;
  parameter[i] = old${decoupledWeightDecay ? ' * (1.0 - lr * decay)' : ''} - lr * ${nesterov ? '(g + mu * b)' : 'b'};`,
    }),
  ];
};

export const adamw8bitKernel: Kernel<'adamw8bit'> = (node) => {
  const [hyper, norm2, qmap] = node.inputs as [Tensor, Tensor, Tensor];
  const [parameter, gradient, state1, state2, absmax] = node.outputs as readonly [Tensor, Tensor, Tensor, Tensor, Tensor];
  const n = sizeOf(parameter.shape);
  const four = (f: (i: number) => string) => unroll(4, f, ' ');
  return [
    launch({
      label: 'adamw8bit',
      inputs: { hyper: [hyper, 'f32'], norm2: [norm2, 'f32'], qmap: [qmap, 'f32'] },
      outputs: { parameter: [parameter, 'vec4<f32>'], gradient: [gradient, 'vec4<f32>'], state1: [state1, 'u32'], state2: [state2, 'u32'], absmax: [absmax, 'vec2<f32>'] },
      // `entries` is a uniform so that compilers do not unroll the search (on a busy lavapipe machine that took ten seconds to compile, this five).
      uniforms: { n4: ['u32', n / 4], decayed: ['u32', node.attributes.decayed], entries: ['u32', 256] },
      header: `
var<workgroup> most: array<vec2<f32>, 64>;
// Index of the value of a map (the first of 256 at \`map\`) that is nearest to x.
fn nearest(map: u32, x: f32) -> u32 {
  var at = 0u;
  for (var jump = p.entries / 2u; jump > 0u; jump >>= 1u) { if (at + jump < 256u && qmap[map + min(at + jump, 255u)] <= x) { at += jump; } }
  let up = min(at + 1u, 255u);
  return select(at, up, x - qmap[map + at] > qmap[map + up] - x);
}
fn unpackCodes(map: u32, word: u32) -> vec4<f32> { return vec4<f32>(${unroll(4, (i) => `qmap[map + ((word >> ${8 * i}u) & 255u)]`, ', ')}); }
fn packCodes(map: u32, x: vec4<f32>) -> u32 {
  var word = 0u;
  for (var j = 0u; j < 4u; j++) { word |= nearest(map, x[j]) << (8u * j); }
  return word;
}`,
      workgroupSize: [64],
      workgroups: [Math.ceil(n / 256)],
      body: `${clipping(HYPER)}
  // Threads beyond the end go along, for the barriers.
  let inside = gid.x < p.n4;
  let i = min(gid.x, p.n4 - 1u);
  let g = gradient[i] * scale;
  if (inside) { gradient[i] = vec4<f32>(); }
  let b1 = hyper[${HYPER.beta1}];
  let b2 = hyper[${HYPER.beta2}];
  let lr = hyper[${HYPER.learningRate}];
  let old = absmax[wid.x];
  let m = b1 * unpackCodes(0u, state1[i]) * old.x + (1.0 - b1) * g;
  let v = b2 * unpackCodes(256u, state2[i]) * old.y + (1.0 - b2) * g * g;
  let am = abs(m);
  most[lid.x] = select(vec2<f32>(), vec2<f32>(max(max(am.x, am.y), max(am.z, am.w)), max(max(v.x, v.y), max(v.z, v.w))), inside);
  workgroupBarrier();
  for (var span = 32u; span > 0u; span >>= 1u) {
    if (lid.x < span) { most[lid.x] = max(most[lid.x], most[lid.x + span]); }
    workgroupBarrier();
  }
  if (!finite || !inside) { return; }
  let largest = most[0];
  if (lid.x == 0u) { absmax[wid.x] = largest; }
  // A block of zeros has no magnitude to divide by.
  state1[i] = packCodes(0u, m * select(0.0, 1.0 / largest.x, largest.x > 0.0));
  state2[i] = packCodes(256u, v * select(0.0, 1.0 / largest.y, largest.y > 0.0));
  let decay = vec4<f32>(${four((c) => `select(0.0, hyper[${HYPER.weightDecay}], 4u * i + ${c}u < p.decayed)${c < 3 ? ',' : ''}`)});
  parameter[i] = parameter[i] * (1.0 - lr * decay) - lr / hyper[${HYPER.correction1}] * m / (sqrt(v / hyper[${HYPER.correction2}]) + hyper[${HYPER.eps}]);`,
    }),
  ];
};
