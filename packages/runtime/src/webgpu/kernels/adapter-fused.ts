/**
 * @file A low-rank adapter at the end of the product that it adapts, where there are few rows (decoding): one dispatch less a
 * projection. With many rows it is a kernel of its own, which reads its factors once and not for every output.
 */
import { type Node, nodeOf } from '../../graph.ts';
import type { Tensor } from '../../tensor.ts';
import { bytesOf } from '../lifetimes.ts';
import type { KernelContext } from './context.ts';
import { packedProductOf, type Product, productOf, wholeVectors } from './product.ts';

/** Rows up to which it pays. */
const MAX_ROWS = 16;
/** Storage buffers that every device lets a shader have. */
const MAX_BUFFERS = 8;

/** The nodes with every `product, down, loraUp` drawn into `down, product` that may be. */
export function fuseAdapters(nodes: readonly Node[], outputs: Iterable<Tensor>, context: KernelContext, maxBinding: number): readonly Node[] {
  if (!context.cooperative) return nodes;
  const uses = new Map<number, number>();
  for (const t of [...nodes.flatMap((n) => n.inputs), ...outputs]) uses.set(t.id, (uses.get(t.id) ?? 0) + 1);
  const fused: Node[] = [];
  for (let i = 0; i < nodes.length; i++) {
    const [base, down, up] = [nodes[i]!, nodes[i + 1], nodes[i + 2]];
    const both = down === undefined || up === undefined ? undefined : fuse(base, down, up, uses, maxBinding);
    if (both === undefined) fused.push(base);
    else {
      fused.push(down!, both);
      i += 2;
    }
  }
  return fused;
}

function fuse(base: Node, down: Node, up: Node, uses: ReadonlyMap<number, number>, maxBinding: number): Node | undefined {
  const [y] = base.outputs;
  if (up.op !== 'loraUp' || up.inputs[0] !== y || up.inputs[1] !== down.outputs[0] || down.inputs.includes(y!) || uses.get(y!.id) !== 1) return undefined;
  const product = productOfNode(base);
  if (product === undefined || product.m > MAX_ROWS || product.accumulate || (product.packed !== undefined && !wholeVectors(product))) return undefined;
  const inputs = [...base.inputs, up.inputs[1]!, up.inputs[2]!];
  if (inputs.length + 1 > MAX_BUFFERS || [...inputs, ...up.outputs].some((t) => bytesOf(t) > maxBinding)) return undefined;
  return { ...base, inputs, outputs: up.outputs, attributes: { ...base.attributes, adapter: up.attributes } } as Node;
}

function productOfNode(node: Node): Product | undefined {
  const packed = nodeOf(node, 'matmulQuantised');
  // A shard of a head is not all of the columns that an adapter has.
  if (packed !== undefined) return packed.attributes.transposed || packed.attributes.outColumns !== packed.attributes.rows ? undefined : packedProductOf(packed);
  const plain = nodeOf(node, 'matmul');
  return plain === undefined ? undefined : productOf(plain);
}
