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
 * - `sliced` (`matmul-sliced.ts`): few results of long sums (low-rank adapters and their gradients).
 * - `matrix64`, `matrix128` (`matmul-matrix.ts`): matrix units with half operands, where the engine was told so.
 *
 * Without a tuner a CPU that plays a GPU takes the first in this order that fits, and a GPU what `gpuVariant` says.
 */
import type { Launch } from '../launch.ts';
import type { Kernel, KernelContext } from './context.ts';
import { block } from './matmul-block.ts';
import { matrix, type MatrixVariant } from './matmul-matrix.ts';
import { narrow, NARROW_ROWS } from './matmul-narrow.ts';
import { slicable, sliced } from './matmul-sliced.ts';
import { subgroupNN, subgroupNT, subgroupTN } from './matmul-subgroup.ts';
import { scalar, tile } from './matmul-tile.ts';
import { batchedProductOf, type Product, productOf, wholeVectors } from './product.ts';

export const matmulKernel: Kernel<'matmul'> = (node, context) => [productLaunch(productOf(node), context)];
export const bmmKernel: Kernel<'bmm'> = (node, context) => [productLaunch(batchedProductOf(node), context)];

export type MatmulVariant = 'subgroup8' | 'narrow' | 'tile' | 'scalar' | 'block32' | 'block64' | 'block128' | 'sliced' | MatrixVariant;

/** The variants that can compute a product on a device, the default first. */
export function variantsOf(o: Product, context: KernelContext): MatmulVariant[] {
  const whole = wholeVectors(o);
  const vectors = whole && !(o.transposeA && o.transposeB);
  const few = vectors && !o.transposeA && o.m <= NARROW_ROWS;
  const plain = o.packed === undefined;
  const all: (MatmulVariant | false)[] = [
    plain && vectors && context.subgroup8 && 'subgroup8',
    plain && few && 'narrow',
    plain && vectors && 'tile',
    plain && 'scalar',
    'block32', 'block64',
    whole && 'block128',
    ...(context.cooperative && whole && slicable(o) ? ['sliced' as const] : []),
    ...(context.matrixUnits && whole ? ['matrix64' as const, 'matrix128' as const] : []),
  ];
  const fitting = all.filter((v) => v !== false);
  const first = context.cooperative ? gpuVariant(o, fitting) : fitting[0]!;
  return [first, ...fitting.filter((v) => v !== first)];
}

/** Workgroups that keep a GPU busy. */
const BUSY = 128;

/** What is fastest on most GPUs: the largest tile of which there are enough; below, sums divided among threads. */
function gpuVariant(o: Product, fitting: readonly MatmulVariant[]): MatmulVariant {
  const groups = (rows: number, columns: number) => Math.ceil(o.m / rows) * Math.ceil(o.n / columns) * o.batch;
  const has = (v: MatmulVariant) => fitting.includes(v);
  if (has('matrix64') && o.m > 16 && o.n > 16 && o.k >= 32) return groups(128, 128) >= BUSY ? 'matrix128' : 'matrix64';
  if (has('sliced') && (o.k >= 64 || o.m <= NARROW_ROWS) && groups(32, 32) <= BUSY) return 'sliced';
  if (has('block128') && groups(128, 128) >= 2 * BUSY) return 'block128';
  return groups(64, 64) >= 4 * BUSY ? 'block64' : 'block32';
}

/**
 * Products that a tuner treats alike: transposition, whole vectors or not, and the power of two at or above each size
 * (`matmul.NT.v.1024.4096.512.1`: m, n, k, batch).
 */
export function shapeClass(o: Product): string {
  const up = (n: number) => 2 ** Math.ceil(Math.log2(Math.max(1, n)));
  const kind = o.packed === undefined ? 'matmul' : `matmul.${o.packed.attributes.format}.${o.packed.attributes.bits}`;
  return `${kind}.${o.transposeA ? 'T' : 'N'}${o.transposeB ? 'T' : 'N'}.${wholeVectors(o) ? 'v' : 's'}.${up(o.m)}.${up(o.n)}.${up(o.k)}.${up(o.batch)}`;
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
      return block(o, variant, context);
    case 'sliced':
      return sliced(o);
    case 'matrix64':
    case 'matrix128':
      return matrix(o, variant);
    default:
      return variant satisfies never;
  }
}
