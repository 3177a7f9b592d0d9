import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, sizeOf, type Tensor } from '../tensor.ts';

export interface DropoutOptions {
  /** Probability with which an element becomes zero. */
  readonly p: number;
  /** u32 [2], another one for every step; the same key gives the same elements. */
  readonly key: Tensor;
  /** Tells places of one graph apart. */
  readonly site: number;
}

/** Inverted dropout (Srivastava et al. 2014): x / (1 - p) or 0, by counter-based random numbers, so that the backward pass draws the same ones. */
export function dropout(x: Tensor, { p, key, site }: DropoutOptions): Tensor {
  checkShape(p >= 0 && p < 1, 'dropout', `p is ${p}.`, 'It must be at least 0 and below 1.');
  checkShape(sizeOf(key.shape) === 2, 'dropout', `key ${describe(key)} is not two words.`, 'Give u32[2].');
  return p === 0 ? x : x.graph.emit('dropout', [x, key], { p, site, rest: false }, [{ shape: x.shape }])[0]!;
}

/** x - dropout(x), for the same options: what goes past an adapter whose inputs are dropped. */
export function dropoutRest(x: Tensor, { p, key, site }: DropoutOptions): Tensor {
  return x.graph.emit('dropout', [x, key], { p, site, rest: true }, [{ shape: x.shape }])[0]!;
}

export const dropoutVjp: Vjp<'dropout'> = (ctx, node, [dy]) => {
  const [x, key] = node.inputs as [Tensor, Tensor];
  if (dy !== undefined && ctx.needs(x)) ctx.give(x, ctx.graph.emit('dropout', [dy, key], node.attributes, [{ shape: x.shape }])[0]!);
};
