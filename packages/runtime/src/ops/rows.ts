import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import type { Graph } from '../graph.ts';
import { describe, rowsAndColumns, type Tensor } from '../tensor.ts';

/** Where each distinct id occurs, for the gradient of an embedding table: sums in a fixed order, no atomics. */
export interface IdIndex {
  /** Token rows sorted by id. */
  readonly order: Tensor;
  /** Where the rows of distinct id i begin in `order`; one more at the end. */
  readonly starts: Tensor;
  /** The distinct ids; -1 pads. */
  readonly rows: Tensor;
}

export interface EmbedOptions {
  /** Image features [F, C] and, for each token, the row it takes from them (i32 [T], -1: its own embedding). */
  readonly features?: Tensor;
  readonly source?: Tensor;
  /** The inverse of `source`: for each feature row, the token it goes to (i32 [F], -1: unused). Needed for gradients. */
  readonly featureTokens?: Tensor;
  readonly ids?: IdIndex;
}

/** table[ids], with the rows of image tokens replaced by visual features. */
export function embed(ids: Tensor, table: Tensor, options: EmbedOptions = {}): Tensor {
  const { features, source, featureTokens, ids: index } = options;
  const [, c] = rowsAndColumns(table);
  const t = ids.shape[0] ?? 0;
  const inputs = [ids, table];
  if (features !== undefined && source !== undefined) {
    checkShape(rowsAndColumns(features)[1] === c, 'embed', `${describe(features)} does not fit ${describe(table)}.`, 'Features must be as wide as the embedding.');
    inputs.push(features, source);
  }
  const attributes = { features: inputs.length === 4 };
  const [out] = ids.graph.emit('embed', inputs, attributes, [{ shape: [t, c] }]);
  if (featureTokens !== undefined) FEATURE_TOKENS.set(attributes, featureTokens);
  if (index !== undefined) ID_INDEX.set(attributes, index);
  return out!;
}

/** What the backward rule of `embed` needs beside the inputs of the forward operation, by its attributes, which one that is recorded again in a checkpoint shares. */
const FEATURE_TOKENS = new WeakMap<object, Tensor>();
const ID_INDEX = new WeakMap<object, IdIndex>();

export const embedVjp: Vjp<'embed'> = (ctx, node, [dy]) => {
  if (dy === undefined) return;
  const [, table, features, source] = node.inputs as [Tensor, Tensor, Tensor | undefined, Tensor | undefined];
  const index = ID_INDEX.get(node.attributes);
  if (ctx.trains(table, 'table of embed')) {
    checkShape(index !== undefined, 'embed', 'the gradient of the table needs the index of ids.', 'Pass `ids` (see `idIndex`).');
    ctx.graph.emitInto('embedTableGrad', [dy, index.order, index.starts, index.rows], {}, [table.grad]);
  }
  if (features !== undefined && source !== undefined && ctx.needs(features)) {
    const tokens = FEATURE_TOKENS.get(node.attributes);
    checkShape(tokens !== undefined, 'embed', 'the gradient of the features needs `featureTokens`.', 'Pass the inverse of `source`.');
    ctx.give(features, gatherRows(dy, tokens, source));
  }
};

/** Host side of `IdIndex`: `skip(t)` leaves out tokens that are not looked up. Padded to the number of ids. */
export function idIndex(ids: ArrayLike<number>, skip: (token: number) => boolean = () => false): { order: Int32Array; starts: Int32Array; rows: Int32Array } {
  const n = ids.length;
  const tokens: number[] = [];
  for (let t = 0; t < n; t++) if (!skip(t)) tokens.push(t);
  tokens.sort((a, b) => ids[a]! - ids[b]! || a - b);
  const order = new Int32Array(n);
  const starts = new Int32Array(n + 1).fill(tokens.length);
  const rows = new Int32Array(n).fill(-1);
  let distinct = 0;
  tokens.forEach((t, i) => {
    order[i] = t;
    if (i === 0 || ids[t] !== ids[tokens[i - 1]!]) {
      starts[distinct] = i;
      rows[distinct++] = ids[t]!;
    }
  });
  return { order, starts, rows };
}

/** The three tensors of an `IdIndex` as inputs of a graph, for `count` tokens. */
export function idIndexInputs(graph: Graph, prefix: string, count: number): IdIndex {
  return {
    order: graph.input(`${prefix}.order`, [count], 'i32'),
    starts: graph.input(`${prefix}.starts`, [count + 1], 'i32'),
    rows: graph.input(`${prefix}.rows`, [count], 'i32'),
  };
}

/** out[i] = x[index[i]], zero where index[i] is negative; `inverse` (i32 [rows of x]) says where each row went, -1 nowhere. */
export function gatherRows(x: Tensor, index: Tensor, inverse: Tensor): Tensor {
  const [, c] = rowsAndColumns(x);
  return x.graph.emit('gatherRows', [x, index, inverse], {}, [{ shape: [index.shape[0] ?? 0, c] }])[0]!;
}

export const gatherRowsVjp: Vjp<'gatherRows'> = (ctx, node, [dy]) => {
  const [x, index, inverse] = node.inputs as [Tensor, Tensor, Tensor];
  if (dy !== undefined && ctx.needs(x)) ctx.give(x, gatherRows(dy, inverse, index));
};

/** target[index[i]] = x[i, column .. column + width); rows with a negative index are skipped. Not differentiable. */
export function scatterRowsInto(target: Tensor, x: Tensor, index: Tensor, column = 0, width = rowsAndColumns(target)[1]): void {
  x.graph.emitInto('scatterRowsInto', [x, index], { column, width }, [target]);
}

/** out[r] = sum over j of weights[r, j] * x[r k + j]: bilinear interpolation in a table of rows looked up before. `weights` is constant. */
export function blendRows(x: Tensor, weights: Tensor): Tensor {
  const [m, c] = rowsAndColumns(x);
  const [r, k] = rowsAndColumns(weights);
  checkShape(m === r * k, 'blendRows', `${describe(x)} is not ${k} rows for each of ${r}.`, 'Give as many rows as weights.');
  return x.graph.emit('blendRows', [x, weights], {}, [{ shape: [r, c] }])[0]!;
}

export const blendRowsVjp: Vjp<'blendRows'> = (ctx, node, [dy]) => {
  const [x, weights] = node.inputs as [Tensor, Tensor];
  if (dy !== undefined && ctx.needs(x)) ctx.give(x, ctx.graph.emit('blendRowsBackward', [dy, weights], {}, [{ shape: x.shape }])[0]!);
};
