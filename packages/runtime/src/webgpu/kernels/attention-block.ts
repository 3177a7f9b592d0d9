/**
 * @file Attention on GPUs proper, forward and backward, in tiles that a workgroup shares (FlashAttention-2, Dao 2023): 32
 * queries of one head against 32 keys at a time, see `attention-tile.ts`. The gradients of keys and of values are two
 * workgroups of one launch: together they multiply a quarter more than one with both would, but each needs half the
 * registers, and few key-value heads make few workgroups.
 *
 * A tile multiplies keys that only some of its rows see, and any that lie among those.
 */
import type { AttentionAttributes } from '../../ops/types.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch } from '../launch.ts';
import { strides } from './attention-parts.ts';
import { accumulate, acrossRows, eachRow, eachSum, ofRows, overSeen, scores, setWeights, TILE, TILE_HEADER, TILE_PLACE, TILE_THREADS, tileUniforms, type Sight, type TileRows } from './attention-tile.ts';

/** Rows of q, k, v and dO of one head, with queries and keys from the given rows on. */
function operands([q, k, v]: readonly [string, string, string], queries: string, keys: string): Record<'q' | 'k' | 'v' | 'dO', TileRows> {
  return {
    q: { buffer: q, first: queries, count: 'p.tq', stride: 'p.qs', base: 'p.qc + head * p.depth' },
    k: { buffer: k, first: keys, count: 'p.tk', stride: 'p.ks', base: 'p.kc + kv' },
    v: { buffer: v, first: keys, count: 'p.tk', stride: 'p.vs', base: 'p.vc + kv' },
    dO: { buffer: 'dO', first: queries, count: 'p.tq', stride: 'p.heads * p.depth', base: 'head * p.depth' },
  };
}

/** A query sees three ranges of keys, one at a time. */
const KEYS_SEEN: Sight = { buffer: 'ranges', width: 6, slot: 'slot', count: 'p.tq', limit: 'p.tk' };
const QUERIES_SEEN: Sight = { buffer: 'ranges', width: 2, slot: '0u', count: 'p.tk', limit: 'p.tq' };

function overKeys(body: string): string {
  return `for (var slot = 0u; slot < 6u; slot += 2u) {${overSeen(KEYS_SEEN, body)}
  }`;
}

/** The head of a workgroup whose rows are queries, and where its key-value head begins in a row. */
const QUERY_HEAD = 'let head = wid.y; let kv = head / p.group * p.depth;';

/** Declares the sums of all rows. */
function noSums(name: string, d: number): string {
  return eachRow((i) => eachSum(d, (c) => `var ${name}${i}_${c} = vec4<f32>();`));
}

/** Writes what `value` makes of each sum of each row below `count`. */
function writeSums(d: number, count: string, to: (row: string) => string, value: (i: number, c: number) => string): string {
  return eachRow((i) => `if (rows[${i}] < ${count}) { ${eachSum(d, (c, quad) => `if (${quad} < p.depth) { ${to(`rows[${i}]`)} + ${quad}] = ${value(i, c)}; }`)} }`);
}

export function attentionBlock(a: AttentionAttributes, [q, k, v, ranges]: readonly [Tensor, Tensor, Tensor, Tensor], [o, lse]: readonly [Tensor, Tensor]): Launch {
  const d = a.headDim / 4;
  const rows = operands(['query', 'k', 'v'], 'first', 'at');
  return launch({
    label: `attention.block.${a.headDim}`,
    inputs: { query: [q, 'vec4<f32>'], k: [k, 'vec4<f32>'], v: [v, 'vec4<f32>'], ranges: [ranges, 'u32'] },
    outputs: { result: [o, 'vec4<f32>'], lse: [lse, 'f32'] },
    uniforms: { ...strides(a, q, k, v), ...tileUniforms(a) },
    header: TILE_HEADER,
    workgroupSize: TILE_THREADS,
    workgroups: [Math.ceil(rowsAndColumns(q)[0] / TILE), a.heads],
    body: `${TILE_PLACE}
  ${QUERY_HEAD}
  var m = vec4<f32>(-1e30);
  var l = vec4<f32>();
  ${noSums('o', d)}
  ${overKeys(`${scores('s', rows.q, rows.k)}
      ${eachRow((i) => `s${i} = select(vec4<f32>(-1e30), p.scale * s${i}, see${i});`)}
      ${acrossRows('top', ofRows((i) => `max(max(s${i}.x, s${i}.y), max(s${i}.z, s${i}.w))`), (x, y) => `max(${x}, ${y})`)}
      top = max(top, m);
      let c = exp(m - top);
      m = top;
      ${eachRow((i) => `let e${i} = select(vec4<f32>(), exp(s${i} - top[${i}]), see${i}); ${setWeights(i, `e${i}`)} ${eachSum(d, (x) => `o${i}_${x} *= c[${i}];`)}`)}
      l = l * c + ${ofRows((i) => `(e${i}.x + e${i}.y) + (e${i}.z + e${i}.w)`)};
      ${accumulate('o', d, rows.v)}`)}
  ${acrossRows('sum', 'l', (x, y) => `${x} + ${y}`)}
  let some = sum > vec4<f32>();
  let f = select(vec4<f32>(), 1.0 / sum, some);
  let z = select(vec4<f32>(), m + log(sum), some);
  ${writeSums(d, 'p.tq', (row) => `result[(${row} * p.heads + head) * p.depth`, (i, c) => `o${i}_${c} * f[${i}]`)}
  ${eachRow((i) => `if (tx == ${i}u && rows[${i}] < p.tq) { lse[rows[${i}] * p.heads + head] = z[${i}]; }`)}`,
  });
}

export function attentionBackwardBlock(
  a: AttentionAttributes,
  [qkv, o, lse, dO, queryRanges, keyRanges]: readonly [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
  [dqkv, delta]: readonly [Tensor, Tensor],
): Launch[] {
  const d = a.headDim / 4;
  const uniforms = { ...strides(a, qkv, qkv, qkv), ...tileUniforms(a) };
  const tiles = Math.ceil(rowsAndColumns(qkv)[0] / TILE);
  const byQuery = operands(['x', 'x', 'x'], 'first', 'at');
  const byKey = operands(['x', 'x', 'x'], 'at', 'first');
  return [
    launch({
      label: `attentionBackward.q.block.${a.headDim}`,
      inputs: { x: [qkv, 'vec4<f32>'], o: [o, 'vec4<f32>'], lse: [lse, 'f32'], dO: [dO, 'vec4<f32>'], ranges: [queryRanges, 'u32'] },
      outputs: { dx: [dqkv, 'vec4<f32>'], delta: [delta, 'f32'] },
      uniforms,
      header: TILE_HEADER,
      workgroupSize: TILE_THREADS,
      workgroups: [tiles, a.heads],
      body: `${TILE_PLACE}
  ${QUERY_HEAD}
  let index = min(rows, vec4<u32>(p.tq - 1u)) * p.heads + head;
  var part = vec4<f32>();
  for (var e = tx; e < p.depth; e += p.side) { part += ${ofRows((i) => `dot(dO[index[${i}] * p.depth + e], o[index[${i}] * p.depth + e])`)}; }
  ${acrossRows('own', 'part', (x, y) => `${x} + ${y}`)}
  let z = ${ofRows((i) => `lse[index[${i}]]`)};
  ${eachRow((i) => `if (tx == ${i}u && rows[${i}] < p.tq) { delta[index[${i}]] = own[${i}]; }`)}
  ${noSums('r', d)}
  ${overKeys(`${scores('s', byQuery.q, byQuery.k)}
      ${scores('t', byQuery.dO, byQuery.v)}
      ${eachRow((i) => setWeights(i, `select(vec4<f32>(), exp(p.scale * s${i} - z[${i}]) * (t${i} - own[${i}]), see${i})`))}
      ${accumulate('r', d, byQuery.k)}`)}
  ${writeSums(d, 'p.tq', (row) => `dx[${row} * p.qs + p.qc + head * p.depth`, (i, c) => `p.scale * r${i}_${c}`)}`,
    }),
    launch({
      label: `attentionBackward.kv.block.${a.headDim}`,
      inputs: { x: [qkv, 'vec4<f32>'], lse: [lse, 'f32'], dO: [dO, 'vec4<f32>'], ranges: [keyRanges, 'u32'], delta: [delta, 'f32'] },
      outputs: { dx: [dqkv, 'vec4<f32>'] },
      uniforms,
      header: TILE_HEADER,
      workgroupSize: TILE_THREADS,
      workgroups: [tiles, a.kvHeads, 2],
      body: `${TILE_PLACE}
  let kv = wid.y * p.depth;
  let ofKeys = wid.z == 0u;
  ${noSums('r', d)}
  for (var head = wid.y * p.group; head < (wid.y + 1u) * p.group; head++) {
    ${overSeen(QUERIES_SEEN, `
      let index = min(columns, vec4<u32>(p.tq - 1u)) * p.heads + head;
      ${scores('s', byKey.k, byKey.q)}
      let z = ${ofRows((j) => `lse[index[${j}]]`)};
      ${eachRow((i) => `s${i} = select(vec4<f32>(), exp(p.scale * s${i} - z), see${i});`)}
      if (ofKeys) {
        ${scores('t', byKey.v, byKey.dO)}
        let own = ${ofRows((j) => `delta[index[${j}]]`)};
        ${eachRow((i) => `s${i} *= t${i} - own;`)}
      }
      ${eachRow((i) => setWeights(i, `s${i}`))}
      ${accumulate('r', d, byKey.dO, { condition: 'ofKeys', b: byKey.q })}`)}
  }
  let to = select(p.vc, p.kc, ofKeys) + kv;
  let stride = select(p.vs, p.ks, ofKeys);
  let factor = select(1.0, p.scale, ofKeys);
  ${writeSums(d, 'p.tk', (row) => `dx[${row} * stride + to`, (i, c) => `factor * r${i}_${c}`)}`,
    }),
  ];
}
