import type { Node } from '../../graph.ts';
import type { OpName } from '../../ops/types.ts';
import type { Launch } from '../launch.ts';

/** What kernels may know of the device when they choose a variant. */
export interface KernelContext {
  /** Subgroups are there and every one has exactly eight lanes (Mesa's lavapipe): one subgroup is one workgroup. */
  readonly subgroup8: boolean;
  /**
   * A GPU proper: the lanes of a workgroup run side by side and share fast memory, so a row is worked on by a whole
   * workgroup. False for a CPU that plays a GPU, where barriers cost more than they bring and one thread a row is faster.
   */
  readonly cooperative: boolean;
  /** A CPU plays the GPU: its compiler takes seconds for a long shader, so that loops should stay loops. */
  readonly software: boolean;
  /** Subgroup matrices may be used for products, at the price of half operands (`WebGpuEngineOptions.matmulPrecision`). */
  readonly matrixUnits: boolean;
  /** The variant that a tuner has chosen for a class of shapes (see `shapeClass`), where it has. */
  readonly tuned?: (shapeClass: string) => string | undefined;
}

/** The launches of one operation, in order. */
export type Kernel<K extends OpName> = (node: Node<K>, context: KernelContext) => readonly Launch[];
