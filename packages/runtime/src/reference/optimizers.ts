/** @file Float64 optimisers. */
import { HYPER, SGD_HYPER } from '../ops/optimizer.ts';
import { BLOCK_8BIT, nearestCode } from '../optim/dynamic-map.ts';
import type { ReferenceKernel } from './kernels.ts';

type A = Float64Array;

/** What gradients are multiplied by, or undefined when their norm is not finite: then nothing is updated. */
function clipping(hyper: A, norm2: A, index: { readonly gradScale: number; readonly maxNorm: number }): number | undefined {
  const [gradScale, maxNorm] = [hyper[index.gradScale]!, hyper[index.maxNorm]!];
  const norm = Math.sqrt(norm2[0]!) * Math.abs(gradScale);
  if (!Number.isFinite(norm)) return undefined;
  return maxNorm > 0 && norm > maxNorm ? (gradScale * maxNorm) / (norm + 1e-6) : gradScale;
}

/** Elements [from, to) of AdamW on moments that are numbers. */
function adamwUpdate(hyper: A, scale: number, p: A, g: A, m: A, v: A, from: number, to: number, decayed: number): void {
  const h = (key: keyof typeof HYPER) => hyper[HYPER[key]]!;
  for (let i = from; i < to; i++) {
    const gi = g[i]! * scale;
    m[i] = h('beta1') * m[i]! + (1 - h('beta1')) * gi;
    v[i] = h('beta2') * v[i]! + (1 - h('beta2')) * gi * gi;
    const decay = i < decayed ? h('weightDecay') : 0;
    p[i] = p[i]! * (1 - h('learningRate') * decay) - ((h('learningRate') / h('correction1')) * m[i]!) / (Math.sqrt(v[i]! / h('correction2')) + h('eps'));
  }
}

export const adamwReference: ReferenceKernel<'adamw'> = (node, [hyper, norm2], [p, g, m, v]) => {
  const scale = clipping(hyper!, norm2!, HYPER);
  if (scale !== undefined) adamwUpdate(hyper!, scale, p!, g!, m!, v!, 0, p!.length, node.attributes.decayed);
  g!.fill(0);
};

export const adamw8bitReference: ReferenceKernel<'adamw8bit'> = (node, [hyper, norm2, qmap], [p, g, state1, state2, absmax]) => {
  const scale = clipping(hyper!, norm2!, HYPER);
  const n = p!.length;
  const moments = [{ codes: state1!, map: qmap!.subarray(0, 256) }, { codes: state2!, map: qmap!.subarray(256) }] as const;
  for (let from = 0; scale !== undefined && from < n; from += BLOCK_8BIT) {
    const to = Math.min(from + BLOCK_8BIT, n);
    const [m, v] = moments.map(({ codes, map }, which) => {
      const out = new Float64Array(n);
      for (let i = from; i < to; i++) out[i] = map[(codes[i >> 2]! >>> (8 * (i & 3))) & 255]! * absmax![(from / BLOCK_8BIT) * 2 + which]!;
      return out;
    }) as [A, A];
    adamwUpdate(hyper!, scale, p!, g!, m, v, from, to, node.attributes.decayed);
    moments.forEach(({ codes, map }, which) => {
      const values = which === 0 ? m : v;
      const most = values.subarray(from, to).reduce((a, x) => Math.max(a, Math.abs(x)), 0);
      absmax![(from / BLOCK_8BIT) * 2 + which] = most;
      for (let i = from; i < to; i += 4) {
        codes[i >> 2] = [0, 1, 2, 3].reduce((word, j) => word + nearestCode(map, most > 0 ? values[i + j]! / most : 0) * 2 ** (8 * j), 0);
      }
    });
  }
  g!.fill(0);
};

export const sgdReference: ReferenceKernel<'sgd'> = (node, [hyper, norm2], [p, g, momentum]) => {
  const { decayed, nesterov, decoupledWeightDecay } = node.attributes;
  const scale = clipping(hyper!, norm2!, SGD_HYPER);
  const [lr, mu] = [hyper![SGD_HYPER.learningRate]!, hyper![SGD_HYPER.momentum]!];
  for (let i = 0; scale !== undefined && i < p!.length; i++) {
    const decay = i < decayed ? hyper![SGD_HYPER.weightDecay]! : 0;
    const gi = g![i]! * scale + (decoupledWeightDecay ? 0 : decay * p![i]!);
    momentum![i] = mu * momentum![i]! + gi;
    if (decoupledWeightDecay) p![i]! *= 1 - lr * decay;
    p![i]! -= lr * (nesterov ? gi + mu * momentum![i]! : momentum![i]!);
  }
  g!.fill(0);
};
