/**
 * @file The attention kernels for devices whose subgroups have exactly eight lanes. Eight neighbouring rows work
 * together: each lane fetches one of the next eight keys (or queries) and hands it to the others by `subgroupBroadcast`,
 * so that a row of memory is fetched once for eight. On lavapipe, where a fetch costs as much as the arithmetic, this
 * is about three times as fast as one row a thread (November 2026). Lanes may see different ranges: all walk over the
 * union and mask, or, where that is long beside the ranges, each over its own.
 */
import type { AttentionAttributes } from '../../ops/types.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch, unroll } from '../launch.ts';
import { dot, quads, strides } from './attention-parts.ts';

/** Larger heads would unroll to shaders that compile for seconds. */
export const SUBGROUP_HEAD_LIMIT = 64;

const ENABLE = 'enable subgroups;\ndiagnostic(off, subgroup_uniformity);';

/** A head's vec4s of the row of lane `lane`. */
function broadcast(name: string, lane: number, d: number): string {
  return quads('w', d, (i) => `subgroupBroadcast(${name}${i}, ${lane}u)`);
}

/** Declares this lane's range [low, high) and the union [from, to) over the lanes. */
function union(buffer: string, at: string, count: string): string {
  return `
    var low = ${buffer}[${at}];
    var high = min(${buffer}[${at} + 1u], ${count});
    if (!live || low >= high) { low = 0u; high = 0u; }
    let from_ = subgroupMin(select(low, 0xffffffffu, low >= high));
    let to_ = subgroupMax(high);`;
}

export function attentionSubgroup(a: AttentionAttributes, [q, k, v, ranges]: readonly [Tensor, Tensor, Tensor, Tensor], [o, lse]: readonly [Tensor, Tensor]): Launch {
  const d = a.headDim / 4;
  return launch({
    label: `attention.subgroup8.${a.headDim}`,
    enable: ENABLE,
    inputs: { query: [q, 'vec4<f32>'], k: [k, 'vec4<f32>'], v: [v, 'vec4<f32>'], ranges: [ranges, 'u32'] },
    outputs: { result: [o, 'vec4<f32>'], lse: [lse, 'f32'] },
    uniforms: strides(a, q, k, v),
    workgroupSize: [8],
    workgroups: [Math.ceil(rowsAndColumns(q)[0] / 8), a.heads],
    body: `
  let live = gid.x < p.tq;
  let row = min(gid.x, p.tq - 1u);
  let head = wid.y;
  let kv = head / ${a.heads / a.kvHeads}u * ${d}u;
  let qb = row * p.qs + p.qc + head * ${d}u;
  ${quads('q', d, (i) => `p.scale * query[qb + ${i}u]`)}
  var m = -1e30;
  var l = 0.0;
  ${quads('o', d, () => 'vec4<f32>()', 'var')}
  for (var r = 0u; r < 6u; r += 2u) {
    ${union('ranges', 'row * 6u + r', 'p.tk')}
    // Rows that look at places far from each other (what each has sampled itself) go their own ways.
    if (to_ - min(from_, to_) > 3u * subgroupMax(high - low)) {
      for (var j = low; j < high; j++) {
        let kb = j * p.ks + p.kc + kv;
        let vb = j * p.vs + p.vc + kv;
        ${quads('w', d, (i) => `k[kb + ${i}u]`)}
        let s0 = ${dot('q', (i) => `w${i}`, d)};
        let n = max(m, s0);
        let c = exp(m - n);
        let e = exp(s0 - n);
        l = fma(l, c, e);
        m = n;
        ${unroll(d, (i) => `o${i} = fma(vec4<f32>(e), v[vb + ${i}u], o${i} * c);`, ' ')}
      }
    } else if (to_ > from_) {
    for (var j = from_; j < to_; j += 8u) {
      let key = min(j + lid.x, p.tk - 1u);
      ${quads('k', d, (i) => `k[key * p.ks + p.kc + kv + ${i}u]`)}
      ${quads('v', d, (i) => `v[key * p.vs + p.vc + kv + ${i}u]`)}
      ${unroll(8, (n) => `var s${n}: f32; { ${broadcast('k', n, d)} let in_ = j + ${n}u >= low && j + ${n}u < high; s${n} = select(-1e30, ${dot('q', (i) => `w${i}`, d)}, in_); }`)}
      let n = max(m, max(max(max(s0, s1), max(s2, s3)), max(max(s4, s5), max(s6, s7))));
      let c = exp(m - n);
      m = n;
      l *= c;
      ${unroll(d, (i) => `o${i} *= c;`, ' ')}
      ${unroll(8, (x) => `{ ${broadcast('v', x, d)} let e = select(0.0, exp(s${x} - n), s${x} > -1e29); l += e; ${unroll(d, (i) => `o${i} = fma(vec4<f32>(e), w${i}, o${i});`, ' ')} }`)}
    }
    }
  }
  if (live) {
    let f = select(0.0, 1.0 / l, l > 0.0);
    let ob = (row * ${a.heads}u + head) * ${d}u;
    ${unroll(d, (i) => `result[ob + ${i}u] = o${i} * f;`, ' ')}
    lse[row * ${a.heads}u + head] = select(0.0, m + log(l), l > 0.0);
  }`,
  });
}

export function attentionBackwardSubgroup(
  a: AttentionAttributes,
  [qkv, o, lse, dO, queryRanges, keyRanges]: readonly [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
  [dqkv, delta]: readonly [Tensor, Tensor],
): Launch[] {
  const d = a.headDim / 4;
  const group = a.heads / a.kvHeads;
  const rows = Math.ceil(rowsAndColumns(qkv)[0] / 8);
  const uniforms = strides(a, qkv, qkv, qkv);
  return [
    launch({
      label: `attentionBackward.q.subgroup8.${a.headDim}`,
      enable: ENABLE,
      inputs: { x: [qkv, 'vec4<f32>'], o: [o, 'vec4<f32>'], lse: [lse, 'f32'], dO: [dO, 'vec4<f32>'], ranges: [queryRanges, 'u32'] },
      outputs: { dx: [dqkv, 'vec4<f32>'], delta: [delta, 'f32'] },
      uniforms,
      workgroupSize: [8],
      workgroups: [rows, a.heads],
      body: `
  let live = gid.x < p.tq;
  let row = min(gid.x, p.tq - 1u);
  let head = wid.y;
  let kv = head / ${group}u * ${d}u;
  let qb = row * p.qs + p.qc + head * ${d}u;
  let ob = (row * ${a.heads}u + head) * ${d}u;
  ${quads('q', d, (i) => `p.scale * x[qb + ${i}u]`)}
  ${quads('g', d, (i) => `dO[ob + ${i}u]`)}
  let own = ${dot('g', (i) => `o[ob + ${i}u]`, d)};
  let z = lse[row * ${a.heads}u + head];
  ${quads('r', d, () => 'vec4<f32>()', 'var')}
  for (var r = 0u; r < 6u; r += 2u) {
    ${union('ranges', 'row * 6u + r', 'p.tk')}
    if (to_ > from_) {
    for (var j = from_; j < to_; j += 8u) {
      let key = min(j + lid.x, p.tk - 1u);
      ${quads('k', d, (i) => `x[key * p.ks + p.kc + kv + ${i}u]`)}
      ${quads('v', d, (i) => `x[key * p.vs + p.vc + kv + ${i}u]`)}
      ${unroll(8, (n) => `{
        var dp: f32; { ${broadcast('v', n, d)} dp = ${dot('g', (i) => `w${i}`, d)}; }
        ${broadcast('k', n, d)}
        let e = exp(${dot('q', (i) => `w${i}`, d)} - z);
        let ds = select(0.0, e * (dp - own), j + ${n}u >= low && j + ${n}u < high);
        ${unroll(d, (i) => `r${i} = fma(vec4<f32>(ds), w${i}, r${i});`, ' ')} }`)}
    }
    }
  }
  if (live) {
    delta[row * ${a.heads}u + head] = own;
    ${unroll(d, (i) => `dx[qb + ${i}u] = p.scale * r${i};`, ' ')}
  }`,
    }),
    launch({
      label: `attentionBackward.kv.subgroup8.${a.headDim}`,
      enable: ENABLE,
      inputs: { x: [qkv, 'vec4<f32>'], lse: [lse, 'f32'], dO: [dO, 'vec4<f32>'], ranges: [keyRanges, 'u32'], delta: [delta, 'f32'] },
      outputs: { dx: [dqkv, 'vec4<f32>'] },
      uniforms,
      workgroupSize: [8],
      workgroups: [rows, a.kvHeads],
      body: `
  let live = gid.x < p.tk;
  let row = min(gid.x, p.tk - 1u);
  let kb = row * p.ks + p.kc + wid.y * ${d}u;
  let vb = row * p.vs + p.vc + wid.y * ${d}u;
  ${quads('k', d, (i) => `p.scale * x[kb + ${i}u]`)}
  ${quads('v', d, (i) => `x[vb + ${i}u]`)}
  ${quads('dk', d, () => 'vec4<f32>()', 'var')}
  ${quads('dv', d, () => 'vec4<f32>()', 'var')}
  ${union('ranges', 'row * 2u', 'p.tq')}
  if (to_ > from_) {
  for (var h = wid.y * ${group}u; h < (wid.y + 1u) * ${group}u; h++) {
    for (var j = from_; j < to_; j += 8u) {
      let query = min(j + lid.x, p.tq - 1u);
      ${quads('q', d, (i) => `x[query * p.qs + p.qc + h * ${d}u + ${i}u]`)}
      ${quads('g', d, (i) => `dO[(query * ${a.heads}u + h) * ${d}u + ${i}u]`)}
      let z = lse[query * ${a.heads}u + h];
      let own = delta[query * ${a.heads}u + h];
      ${unroll(8, (n) => `{
        let in_ = j + ${n}u >= low && j + ${n}u < high;
        var e: f32;
        var ds: f32;
        { ${broadcast('q', n, d)} e = select(0.0, exp(${dot('k', (i) => `w${i}`, d)} - subgroupBroadcast(z, ${n}u)), in_); }
        { ${broadcast('g', n, d)} ds = e * (${dot('v', (i) => `w${i}`, d)} - subgroupBroadcast(own, ${n}u)); ${unroll(d, (i) => `dv${i} = fma(vec4<f32>(e), w${i}, dv${i});`, ' ')} }
        { ${broadcast('q', n, d)} ${unroll(d, (i) => `dk${i} = fma(vec4<f32>(ds), w${i}, dk${i});`, ' ')} } }`)}
    }
  }
  }
  if (live) {
    ${unroll(d, (i) => `dx[kb + ${i}u] = p.scale * dk${i}; dx[vb + ${i}u] = dv${i};`, ' ')}
  }`,
    }),
  ];
}
