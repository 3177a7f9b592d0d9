import type { HostArray } from './engine.ts';
import { RuntimeError } from './errors.ts';
import type { Node } from './graph.ts';
import { describe, type Tensor } from './tensor.ts';

/** Tensors of a node that hold numbers which must be finite; working memory need not. */
export function floats(tensors: readonly Tensor[]): Tensor[] {
  return tensors.filter((t) => t.dtype === 'f32' && t.name !== 'scratch');
}

/** Throws `not-finite` with operation, tensor, element and value when `data` has a NaN or an infinity. */
export function checkFinite(node: Node, t: Tensor, written: boolean, data: HostArray): void {
  const at = data.findIndex((x) => !Number.isFinite(x));
  if (at < 0) return;
  const where = written ? `${node.op} makes ${describe(t)}` : `${node.op} reads ${describe(t)}`;
  const others = written ? ` from ${node.inputs.map(describe).join(', ')}, which are finite` : ', which nothing in this run has made';
  throw new RuntimeError('not-finite', t.name, `${where} with ${data[at]} at element ${at} of ${data.length}${others}.`, written ? 'Lower the learning rate or the scale of the loss, or look for a division by zero or an overflow in this operation.' : 'Check what was given as input, loaded, or left by an earlier step.');
}
