import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, type Tensor } from '../tensor.ts';

export interface RopeOptions {
  /** How many heads at the beginning of a row are turned (queries, then keys); the columns behind them are copied. */
  readonly heads: number;
  readonly headDim: number;
  /** For each of the headDim / 2 angles, which row of `positions` it uses. */
  readonly axes: readonly number[];
}

/**
 * Rotary position embedding (Su et al. 2021) in the half-split form of Hugging Face: for angle j of a head,
 * (x_j, x_{j+D/2}) is turned by positions[axes[j]] * frequency_j; cos and sin come from `table` f32 [P, D/2, 2].
 * One axis is ordinary RoPE, two the vision tower's, three M-RoPE (Qwen2-VL), in sections or interleaved.
 */
export function rope(x: Tensor, positions: Tensor, table: Tensor, options: RopeOptions): Tensor {
  const [t, c] = rowsAndColumns(x);
  const { heads, headDim, axes } = options;
  checkShape(heads * headDim <= c, 'rope', `${heads} heads of ${headDim} exceed the ${c} columns of ${describe(x)}.`, 'Check heads and headDim.');
  checkShape(axes.length === headDim / 2, 'rope', `${axes.length} axes for ${headDim / 2} angles.`, 'Name one axis for each angle.');
  checkShape(positions.shape[1] === t, 'rope', `${describe(positions)} does not fit ${t} rows.`, `It must be i32[axes, ${t}].`);
  return x.graph.emit('rope', [x, positions, table], { ...options, inverse: false }, [{ shape: x.shape }])[0]!;
}

/** A rotation is undone by the opposite one. */
export const ropeVjp: Vjp<'rope'> = (ctx, node, [dy]) => {
  const [x, positions, table] = node.inputs as [Tensor, Tensor, Tensor];
  if (dy === undefined || !ctx.needs(x)) return;
  ctx.give(x, ctx.graph.emit('rope', [dy, positions, table], { ...node.attributes, inverse: !node.attributes.inverse }, [{ shape: x.shape }])[0]!);
};

/** cos and sin of position * frequency for positions 0..count-1, in float64 rounded to float32: [count, frequencies, 2]. */
export function ropeTable(count: number, frequencies: readonly number[]): Float32Array {
  const table = new Float32Array(count * frequencies.length * 2);
  let i = 0;
  for (let p = 0; p < count; p++) {
    for (const f of frequencies) {
      table[i++] = Math.cos(p * f);
      table[i++] = Math.sin(p * f);
    }
  }
  return table;
}
