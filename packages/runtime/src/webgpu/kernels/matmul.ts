/**
 * @file C = act(alpha op(A) op(B) + bias) + residual, or C += alpha op(A) op(B), once or for every matrix of a batch.
 *
 * Variants, one shader for all sizes of a kind (sizes are uniforms, so a new batch shape compiles nothing):
 * - `subgroup8` (`matmul-subgroup.ts`): where every subgroup has eight lanes.
 * - `tile` (`matmul-tile.ts`): 4 x 4 register tiles with vec4 loads, 8 x 8 threads; needs nothing optional.
 * - `scalar` (`matmul-tile.ts`): 4 x 4 elements a thread (one where there are few), loads of one number, for inner sizes that are not multiples of four.
 */
import type { Launch } from '../launch.ts';
import type { Kernel, KernelContext } from './context.ts';
import { subgroupNN, subgroupNT, subgroupTN } from './matmul-subgroup.ts';
import { scalar, tile } from './matmul-tile.ts';
import { batchedProductOf, type Product, productOf, wholeVectors } from './product.ts';

export const matmulKernel: Kernel<'matmul'> = (node, context) => [productLaunch(productOf(node), context)];
export const bmmKernel: Kernel<'bmm'> = (node, context) => [productLaunch(batchedProductOf(node), context)];

export function productLaunch(o: Product, context: KernelContext): Launch {
  if (!wholeVectors(o) || (o.transposeA && o.transposeB)) return scalar(o);
  if (!context.subgroup8) return tile(o);
  if (o.transposeA) return subgroupTN(o);
  return o.transposeB ? subgroupNT(o) : subgroupNN(o);
}
