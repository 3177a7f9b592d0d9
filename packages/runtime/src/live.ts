import type { Graph, Node } from './graph.ts';

/** The nodes of a graph that matter: those that write to storage, and what they and the graph's outputs are computed from. */
export function liveNodes(graph: Graph): Node[] {
  const wanted = new Set([...graph.outputs.values()].map((t) => t.id));
  const live: Node[] = [];
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i]!;
    if (!node.outputs.some((t) => t.kind === 'storage' || wanted.has(t.id))) continue;
    for (const t of node.inputs) wanted.add(t.id);
    live.push(node);
  }
  return live.reverse();
}

/** Bytes of all storages that nodes read or write, at `bytesPerElement`. */
export function storageBytes(nodes: readonly Node[], bytesPerElement: number): number {
  const storages = new Set(nodes.flatMap((n) => [...n.inputs, ...n.outputs]).flatMap((t) => (t.storage === undefined ? [] : [t.storage])));
  return [...storages].reduce((sum, s) => sum + s.length * bytesPerElement, 0);
}
