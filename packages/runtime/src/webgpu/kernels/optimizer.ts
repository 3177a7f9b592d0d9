/** @file AdamW over a whole parameter storage in one dispatch: four parameters a thread. */
import { HYPER } from '../../ops/optimizer.ts';
import { sizeOf, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import type { Kernel } from './context.ts';

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
  let i = gid.x;
  var scale = hyper[${HYPER.gradScale}];
  let norm = sqrt(norm2[0]) * abs(scale);
  let raw = gradient[i];
  gradient[i] = 0.0;
  // A norm that is not a finite number (bits of infinity or NaN) skips the update.
  if ((bitcast<u32>(norm) & 0x7f800000u) == 0x7f800000u) { return; }
  let limit = hyper[${HYPER.maxNorm}];
  if (limit > 0.0 && norm > limit) { scale = scale * limit / (norm + 1e-6); }
  let g = raw * scale;
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
