import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, sizeOf, type Tensor } from '../tensor.ts';
import type { Activation } from './types.ts';

/** a + b, of equal shape. */
export function add(a: Tensor, b: Tensor): Tensor {
  checkShape(sizeOf(a.shape) === sizeOf(b.shape), 'add', `${describe(a)} and ${describe(b)} differ in size.`, 'Both must have the same shape.');
  return a.graph.emit('add', [a, b], {}, [{ shape: a.shape }])[0]!;
}

/** silu(x) = x sigmoid(x); gelu with erf; geluTanh its tanh form; quickGelu(x) = x sigmoid(1.702 x). */
export function activate(x: Tensor, kind: Activation): Tensor {
  if (kind === 'none') return x;
  return x.graph.emit('activation', [x], { kind }, [{ shape: x.shape }])[0]!;
}

export function activationBackward(dy: Tensor, x: Tensor, kind: Exclude<Activation, 'none'>): Tensor {
  return x.graph.emit('activationBackward', [dy, x], { kind }, [{ shape: x.shape }])[0]!;
}

/** silu(gate) * up, where x = [gate | up] along the last axis: [M, 2F] -> [M, F]. */
export function swiglu(x: Tensor): Tensor {
  const [m, n] = rowsAndColumns(x);
  checkShape(n % 2 === 0, 'swiglu', `${describe(x)} has an odd last axis.`, 'Give gate and up side by side.');
  return x.graph.emit('swiglu', [x], {}, [{ shape: [m, n / 2] }])[0]!;
}

export const addVjp: Vjp<'add'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  for (const t of node.inputs) if (ctx.needs(t)) ctx.give(t, dy);
};

export const activationVjp: Vjp<'activation'> = (ctx, node, [dy]) => {
  const x = node.inputs[0]!;
  if (dy !== undefined && ctx.needs(x)) ctx.give(x, activationBackward(dy, x, node.attributes.kind));
};

export const swigluVjp: Vjp<'swiglu'> = (ctx, node, [dy]) => {
  const x = node.inputs[0]!;
  if (dy !== undefined && ctx.needs(x)) ctx.give(x, ctx.graph.emit('swigluBackward', [dy, x], {}, [{ shape: x.shape }])[0]!);
};
