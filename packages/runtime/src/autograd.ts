import { RuntimeError } from './errors.ts';
import type { Graph, Node } from './graph.ts';
import { add } from './ops/elementwise.ts';
import { columnSumInto } from './ops/matmul.ts';
import type { OpName } from './ops/types.ts';
import { describe, sizeOf, type Tensor } from './tensor.ts';
import { VJPS } from './ops/vjps.ts';

/** What the backward rule of an operation may ask for and must answer. */
export interface VjpContext {
  readonly graph: Graph;
  /** Whether anybody wants the gradient of this input. */
  needs(t: Tensor): boolean;
  /** The gradient gathered so far for `t`, taken away so that the rule can fold its own share into it. */
  take(t: Tensor): Tensor | undefined;
  /** Hands over the gradient of `t` (the whole of it after `take`, else one more share); of a parameter, one share that its `grad` takes. */
  give(t: Tensor, gradient: Tensor): void;
  /**
   * Whether to add to `t.grad`. A rule that has no other way for this input asks so.
   * @throws RuntimeError `autograd` for an input that is no parameter, and whose gradient somebody wants.
   */
  trains(t: Tensor | undefined, input: string): t is Tensor & { readonly grad: Tensor };
}

/** The backward rule of an operation: gradients of its outputs in, gradients of its inputs given to the context. */
export type Vjp<K extends OpName> = (ctx: VjpContext, node: Node<K>, gradients: readonly (Tensor | undefined)[]) => void;

/**
 * Records the backward pass of everything recorded so far: from the given gradients of some tensors to all
 * trainable parameters, whose `grad` storage is added to. Also returns the gradients of the tensors in `wanted`.
 * Reverse mode, one visit a node. Throws `autograd` when an operation on the way has no backward rule.
 */
export function backward(graph: Graph, seeds: readonly (readonly [Tensor, Tensor])[], wanted: readonly Tensor[] = []): Map<Tensor, Tensor> {
  const nodes = [...graph.nodes];
  const needed = findNeeded(nodes, wanted);
  const asked = new Set(wanted.map((t) => t.id));
  const gradients = new Map<number, Tensor>();
  // A tensor and its reshaped views are one; what comes from a view is seen in the shape of the one who asks.
  const gradientOf = (t: Tensor): Tensor | undefined => {
    const g = gradients.get(t.id);
    return g === undefined || g.shape.join() === t.shape.join() ? g : graph.reshape(g, t.shape);
  };
  const ctx: VjpContext = {
    graph,
    needs: (t) => needed.has(t.id),
    take: (t) => {
      const g = gradientOf(t);
      gradients.delete(t.id);
      return g;
    },
    give: (t, gradient) => {
      if (t.grad !== undefined) {
        columnSumInto(t.grad, graph.reshape(gradient, [1, sizeOf(gradient.shape)]));
        if (!asked.has(t.id)) return;
      }
      const before = gradients.get(t.id);
      gradients.set(t.id, before === undefined ? gradient : add(before, gradient));
    },
    trains: (t, input): t is Tensor & { readonly grad: Tensor } => {
      if (t === undefined || t.grad !== undefined) return t !== undefined;
      if (needed.has(t.id)) throw new RuntimeError('autograd', input, `${describe(t)} is computed, and has no backward rule here.`, 'Give a parameter or a constant, or apply it by operations of their own.');
      return false;
    },
  };
  for (const [t, g] of seeds) ctx.give(t, g);
  const visit = (node: Node, own: readonly (Tensor | undefined)[]) => {
    if (own.every((g) => g === undefined) || !node.inputs.some((t) => needed.has(t.id))) return;
    const rule = VJPS[node.op] as Vjp<OpName> | undefined;
    if (rule === undefined) {
      throw new RuntimeError('autograd', node.op, `has no backward rule (inputs ${node.inputs.map(describe).join('; ')}).`, 'Keep it out of the differentiated part of the graph.');
    }
    rule(ctx, node, own);
  };
  for (let i = nodes.length - 1; i >= 0; i--) {
    const segment = graph.checkpoints.find((c) => c.end === i + 1 && c.end > c.start);
    if (segment === undefined) {
      visit(nodes[i]!, nodes[i]!.outputs.map(gradientOf));
      continue;
    }
    i = segment.start;
    const stretch = nodes.slice(segment.start, segment.end);
    if (!stretch.some((n) => n.outputs.some((o) => gradients.has(o.id)))) continue;
    // The stretch once more; its rules see the repeated results, so the first ones need not be kept.
    const repeated = new Map<number, Tensor>();
    const again = stretch.map((node) => {
      const copy = graph.repeat(node, node.inputs.map((t) => {
        const r = repeated.get(t.id);
        return r === undefined ? t : graph.reshape(r, t.shape);
      }));
      node.outputs.forEach((o, k) => {
        repeated.set(o.id, copy.outputs[k]!);
        if (needed.has(o.id)) needed.add(copy.outputs[k]!.id);
      });
      return copy;
    });
    stretch.forEach((node, k) => node.outputs.forEach((o, j) => {
      const g = gradientOf(o);
      if (g !== undefined) ctx.give(again[k]!.outputs[j]!, g);
    }));
    for (const copy of again.reverse()) visit(copy, copy.outputs.map(gradientOf));
  }
  return new Map(wanted.flatMap((t) => {
    const g = gradientOf(t);
    return g === undefined ? [] : [[t, g] as const];
  }));
}

/** Ids of all tensors from which a trainable parameter or a wanted tensor can be reached going up. */
function findNeeded(nodes: readonly Node[], wanted: readonly Tensor[]): Set<number> {
  const needed = new Set(wanted.map((t) => t.id));
  for (const node of nodes) {
    if (node.inputs.some((t) => t.grad !== undefined || needed.has(t.id))) {
      for (const t of node.inputs) if (t.grad !== undefined) needed.add(t.id);
      for (const o of node.outputs) needed.add(o.id);
    }
  }
  return needed;
}
