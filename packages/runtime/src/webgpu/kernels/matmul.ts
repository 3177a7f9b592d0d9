/**
 * @file C = act(alpha op(A) op(B) + bias) + residual, or C += alpha op(A) op(B), once or for every matrix of a batch.
 *
 * Variants, one shader for all sizes of a kind (sizes are uniforms, so a new batch shape compiles nothing):
 * - `subgroup8` (`matmul-subgroup.ts`): where every subgroup has eight lanes.
 * - `tile` (`matmul-tile.ts`): 4 x 4 register tiles with vec4 loads, 8 x 8 threads; needs nothing optional.
 * - `narrow` (`matmul-narrow.ts`): at most eight rows.
 * - `scalar` (`matmul-tile.ts`): 4 x 4 elements a thread (one where there are few), loads of one number; any size and transposition.
 * - `block32`, `block64`, `block128` (`matmul-block.ts`): tiles in workgroup memory; any size and transposition (the largest only for whole vec4s).
 *
 * Without a tuner the first in this order that fits is taken.
 */
import type { Launch } from '../launch.ts';
import type { Kernel, KernelContext } from './context.ts';
import { block } from './matmul-block.ts';
import { narrow, NARROW_ROWS } from './matmul-narrow.ts';
import { subgroupNN, subgroupNT, subgroupTN } from './matmul-subgroup.ts';
import { scalar, tile } from './matmul-tile.ts';
import { batchedProductOf, type Product, productOf, wholeVectors } from './product.ts';

export const matmulKernel: Kernel<'matmul'> = (node, context) => [productLaunch(productOf(node), context)];
export const bmmKernel: Kernel<'bmm'> = (node, context) => [productLaunch(batchedProductOf(node), context)];

export type MatmulVariant = 'subgroup8' | 'narrow' | 'tile' | 'scalar' | 'block32' | 'block64' | 'block128';

/** The variants that can compute a product on a device, the default first. */
export function variantsOf(o: Product, context: KernelContext): MatmulVariant[] {
  const vectors = wholeVectors(o) && !(o.transposeA && o.transposeB);
  const few = vectors && !o.transposeA && o.m <= NARROW_ROWS;
  return [...(vectors && context.subgroup8 ? ['subgroup8' as const] : []), ...(few ? ['narrow' as const] : []), ...(vectors ? ['tile' as const] : []), 'scalar', 'block32', 'block64', ...(wholeVectors(o) ? ['block128' as const] : [])];
}

/**
 * Products that a tuner treats alike: transposition, whole vectors or not, and the power of two at or above each size
 * (`matmul.NT.v.1024.4096.512.1`: m, n, k, batch).
 */
export function shapeClass(o: Product): string {
  const up = (n: number) => 2 ** Math.ceil(Math.log2(Math.max(1, n)));
  return `matmul.${o.transposeA ? 'T' : 'N'}${o.transposeB ? 'T' : 'N'}.${wholeVectors(o) ? 'v' : 's'}.${up(o.m)}.${up(o.n)}.${up(o.k)}.${up(o.batch)}`;
}

export function productLaunch(o: Product, context: KernelContext): Launch {
  const variants = variantsOf(o, context);
  const wanted = context.tuned?.(shapeClass(o));
  const variant = variants.find((v) => v === wanted) ?? variants[0]!;
  switch (variant) {
    case 'subgroup8':
      if (o.transposeA) return subgroupTN(o);
      return o.transposeB ? subgroupNT(o) : subgroupNN(o);
    case 'narrow':
      return narrow(o);
    case 'tile':
      return tile(o);
    case 'scalar':
      return scalar(o);
    case 'block32':
    case 'block64':
    case 'block128':
      return block(o, variant);
    default:
      return variant satisfies never;
  }
}
