import type { PlanMemory } from '../engine.ts';
import { RuntimeError } from '../errors.ts';
import type { Graph, Node } from '../graph.ts';
import { liveNodes, storageBytes } from '../live.ts';
import type { OpName } from '../ops/types.ts';
import { describe } from '../tensor.ts';
import { fuseAdapters } from './kernels/adapter-fused.ts';
import type { Kernel, KernelContext } from './kernels/context.ts';
import { fuse } from './kernels/norm-fused.ts';
import { shardedLaunches } from './kernels/shards.ts';
import { KERNELS } from './kernels/table.ts';
import type { Launch } from './launch.ts';
import { bytesOf, placeIntermediates } from './lifetimes.ts';

/** Uniform data of each dispatch begins at a multiple of this. */
export const UNIFORM_ALIGNMENT = 256;

/** What a plan of a graph consists of, before any memory is asked for. */
export interface PlanLayout {
  readonly nodes: readonly Node[];
  readonly launches: readonly Launch[];
  /** The nodes (several when fused) that each launch is of. */
  readonly origins: readonly (readonly Node[])[];
  readonly slotOf: ReadonlyMap<number, number>;
  /** Bytes of each slot of intermediates. */
  readonly slots: readonly number[];
  readonly memory: PlanMemory;
}

/** Chooses kernels and places memory. Throws `limit` for a tensor that no kernel of the device may bind. */
export function layOut(graph: Graph, context: KernelContext, maxBinding: number): PlanLayout {
  const nodes = fuseAdapters(liveNodes(graph), graph.outputs.values(), context, maxBinding);
  const launches: Launch[] = [];
  const origins: (readonly Node[])[] = [];
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i]!;
    const both = fuse(node, nodes[i + 1], context);
    const own = both === undefined ? launchesOf(node, context, maxBinding) : [both];
    const origin = both === undefined ? [node] : [node, nodes[++i]!];
    launches.push(...own);
    for (const _ of own) origins.push(origin);
  }
  const { slotOf, slots } = placeIntermediates(nodes, graph.outputs.values());
  const intermediates = slots.reduce((a, b) => a + b, 0);
  const inputs = [...graph.inputs.values()].reduce((a, t) => a + bytesOf(t), 0);
  const overhead = Math.max(1, launches.length) * UNIFORM_ALIGNMENT + [...graph.outputs.values()].reduce((n, t) => n + bytesOf(t), 0);
  return { nodes, launches, origins, slotOf, slots, memory: { intermediates, inputs, overhead, total: intermediates + inputs + overhead, storages: storageBytes(nodes, 4) } };
}

/** The launches of a node; of one on storage that exceeds a binding, shard by shard. Refuses what cannot be cut. */
function launchesOf(node: Node, context: KernelContext, limit: number): readonly Launch[] {
  const large = [...node.inputs, ...node.outputs].find((t) => bytesOf(t) > limit);
  const launches = large === undefined ? (KERNELS[node.op] as Kernel<OpName>)(node, context) : shardedLaunches(node, context, limit);
  if (launches === undefined) {
    throw new RuntimeError('limit', `${node.op} ${describe(large!)}`, `takes ${bytesOf(large!)} bytes; this device binds at most ${limit}.`, 'Use fewer tokens in a batch, or split the tensor (a large vocabulary: headLogProbabilities).');
  }
  return launches;
}
