import type { Node } from '../graph.ts';
import { sizeOf, type Tensor } from '../tensor.ts';

/** Where an intermediate lives: which slot of the plan's memory. */
export interface Placement {
  readonly slotOf: ReadonlyMap<number, number>;
  /** Bytes of each slot. */
  readonly slots: readonly number[];
}

/**
 * Gives intermediates whose lifetimes do not overlap the same memory. Walks the nodes in order; an output takes the
 * smallest free slot of about its size that holds it, else the largest such one grows, else a new slot begins.
 * `outputs` are kept to the end.
 */
export function placeIntermediates(nodes: readonly Node[], outputs: Iterable<Tensor>): Placement {
  const lastUse = new Map<number, number>();
  nodes.forEach((node, i) => {
    for (const t of [...node.inputs, ...node.outputs]) if (t.kind === 'intermediate') lastUse.set(t.id, i);
  });
  for (const t of outputs) lastUse.set(t.id, Infinity);
  const slots: number[] = [];
  const free = new Set<number>();
  const slotOf = new Map<number, number>();
  nodes.forEach((node, i) => {
    for (const t of node.outputs) {
      if (t.kind === 'intermediate' && !slotOf.has(t.id)) slotOf.set(t.id, claim(slots, free, bytesOf(t)));
    }
    const done = new Set([...node.inputs, ...node.outputs].filter((t) => lastUse.get(t.id) === i).map((t) => t.id));
    for (const id of done) free.add(slotOf.get(id)!);
  });
  return { slotOf, slots };
}

/** Bytes of a tensor, rounded up to the 16 that a vec4 needs. */
export function bytesOf(t: Tensor): number {
  return Math.max(16, Math.ceil((sizeOf(t.shape) * 4) / 16) * 16);
}

/** A slot may be this many times larger than what it holds: a small tensor that lives long must not keep a large slot busy. */
const SLACK = 1.5;

function claim(slots: number[], free: Set<number>, bytes: number): number {
  let best = -1;
  for (const s of free) {
    const size = slots[s]!;
    if (size > bytes * SLACK || size * SLACK < bytes) continue;
    const current = best < 0 ? -1 : slots[best]!;
    const fits = size >= bytes;
    if (best < 0 || (fits ? current < bytes || size < current : current < bytes && size > current)) best = s;
  }
  if (best >= 0) {
    free.delete(best);
    slots[best] = Math.max(slots[best]!, bytes);
    return best;
  }
  slots.push(bytes);
  return slots.length - 1;
}
