/**
 * @file Attention over key ranges, forward and backward, one (row, head) a thread, online softmax, four keys at a time.
 * No score matrix: the backward pass recomputes P from the log-sum-exp. Which keys a query sees is data, not code:
 * causal, windowed, packed and prefix-sharing layouts use the same three shaders. GPUs proper work in tiles
 * (`attention-block.ts`) or, where few queries look at many keys, at one query a workgroup (`attention-rows.ts`).
 */
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, unroll } from '../launch.ts';
import { attentionBackwardBlock, attentionBlock } from './attention-block.ts';
import { dot, quads, strides } from './attention-parts.ts';
import { attentionRows } from './attention-rows.ts';
import { attentionBackwardSubgroup, attentionSubgroup, SUBGROUP_HEAD_LIMIT } from './attention-subgroup.ts';
import type { Kernel } from './context.ts';

/**
 * So many times more keys than queries are a cache that rows in flight decode from, each at places of its own: nothing to
 * share among them. A batch that attends to itself has as many keys as queries.
 */
const FEW_QUERIES = 4;

export const attentionKernel: Kernel<'attention'> = (node, context) => {
  const [q, k, v, ranges] = node.inputs as [Tensor, Tensor, Tensor, Tensor];
  const [o, lse] = node.outputs as readonly [Tensor, Tensor];
  const a = node.attributes;
  if (context.cooperative) {
    const few = rowsAndColumns(k)[0] >= FEW_QUERIES * rowsAndColumns(q)[0];
    return [few ? attentionRows(a, [q, k, v, ranges], [o, lse]) : attentionBlock(a, [q, k, v, ranges], [o, lse])];
  }
  if (context.subgroup8 && a.headDim <= SUBGROUP_HEAD_LIMIT) return [attentionSubgroup(a, [q, k, v, ranges], [o, lse])];
  const d = a.headDim / 4;
  const score = (j: number) => `let s${j} = ${dot('q', (i) => `k[kb + ${j}u * p.ks + ${i}u]`, d)};`;
  return [
    launch({
      label: `attention.${a.headDim}`,
      inputs: { query: [q, 'vec4<f32>'], k: [k, 'vec4<f32>'], v: [v, 'vec4<f32>'], ranges: [ranges, 'u32'] },
      outputs: { result: [o, 'vec4<f32>'], lse: [lse, 'f32'] },
      uniforms: strides(a, q, k, v),
      workgroupSize: [8],
      workgroups: [Math.ceil(rowsAndColumns(q)[0] / 8), a.heads],
      body: `
  if (gid.x >= p.tq) { return; }
  let head = wid.y;
  let kv = head / ${a.heads / a.kvHeads}u * ${d}u;
  let qb = gid.x * p.qs + p.qc + head * ${d}u;
  ${quads('q', d, (i) => `p.scale * query[qb + ${i}u]`)}
  var m = -1e30;
  var l = 0.0;
  ${quads('o', d, () => 'vec4<f32>()', 'var')}
  for (var r = 0u; r < 6u; r += 2u) {
    let hi = min(ranges[gid.x * 6u + r + 1u], p.tk);
    var j = ranges[gid.x * 6u + r];
    for (; j + 4u <= hi; j += 4u) {
      let kb = j * p.ks + p.kc + kv;
      let vb = j * p.vs + p.vc + kv;
      ${unroll(4, score)}
      let n = max(max(m, max(s0, s1)), max(s2, s3));
      let c = exp(m - n);
      ${unroll(4, (i) => `let e${i} = exp(s${i} - n);`, ' ')}
      l = l * c + (e0 + e1) + (e2 + e3);
      m = n;
      ${unroll(d, (i) => `o${i} = o${i} * c + e0 * v[vb + ${i}u] + e1 * v[vb + p.vs + ${i}u] + e2 * v[vb + 2u * p.vs + ${i}u] + e3 * v[vb + 3u * p.vs + ${i}u];`)}
    }
    for (; j < hi; j++) {
      let kb = j * p.ks + p.kc + kv;
      let vb = j * p.vs + p.vc + kv;
      ${score(0)}
      let n = max(m, s0);
      let c = exp(m - n);
      let e0 = exp(s0 - n);
      l = l * c + e0;
      m = n;
      ${unroll(d, (i) => `o${i} = o${i} * c + e0 * v[vb + ${i}u];`)}
    }
  }
  let f = select(0.0, 1.0 / l, l > 0.0);
  let ob = (gid.x * ${a.heads}u + head) * ${d}u;
  ${unroll(d, (i) => `result[ob + ${i}u] = o${i} * f;`)}
  lse[gid.x * ${a.heads}u + head] = select(0.0, m + log(l), l > 0.0);`,
    }),
  ];
};

export const attentionBackwardKernel: Kernel<'attentionBackward'> = (node, context) => {
  const [qkv, o, lse, dO, queryRanges, keyRanges] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
  const [dqkv, delta] = node.outputs as readonly [Tensor, Tensor];
  const a = node.attributes;
  if (context.cooperative) return attentionBackwardBlock(a, [qkv, o, lse, dO, queryRanges, keyRanges], [dqkv, delta]);
  if (context.subgroup8 && a.headDim <= SUBGROUP_HEAD_LIMIT) return attentionBackwardSubgroup(a, [qkv, o, lse, dO, queryRanges, keyRanges], [dqkv, delta]);
  const d = a.headDim / 4;
  const group = a.heads / a.kvHeads;
  const t = rowsAndColumns(qkv)[0];
  const uniforms = strides(a, qkv, qkv, qkv);
  const rows = Math.ceil(t / 8);
  return [
    launch({
      label: `attentionBackward.q.${a.headDim}`,
      inputs: { x: [qkv, 'vec4<f32>'], o: [o, 'vec4<f32>'], lse: [lse, 'f32'], dO: [dO, 'vec4<f32>'], ranges: [queryRanges, 'u32'] },
      outputs: { dx: [dqkv, 'vec4<f32>'], delta: [delta, 'f32'] },
      uniforms,
      workgroupSize: [8],
      workgroups: [rows, a.heads],
      body: `
  if (gid.x >= p.tq) { return; }
  let head = wid.y;
  let kv = head / ${group}u * ${d}u;
  let qb = gid.x * p.qs + p.qc + head * ${d}u;
  let ob = (gid.x * ${a.heads}u + head) * ${d}u;
  ${quads('q', d, (i) => `p.scale * x[qb + ${i}u]`)}
  ${quads('g', d, (i) => `dO[ob + ${i}u]`)}
  let own = ${dot('g', (i) => `o[ob + ${i}u]`, d)};
  let z = lse[gid.x * ${a.heads}u + head];
  delta[gid.x * ${a.heads}u + head] = own;
  ${quads('r', d, () => 'vec4<f32>()', 'var')}
  for (var r = 0u; r < 6u; r += 2u) {
    for (var j = ranges[gid.x * 6u + r]; j < min(ranges[gid.x * 6u + r + 1u], p.tk); j++) {
      let kb = j * p.ks + p.kc + kv;
      let vb = j * p.vs + p.vc + kv;
      ${quads('k', d, (i) => `x[kb + ${i}u]`)}
      let e = exp(${dot('q', (i) => `k${i}`, d)} - z);
      let ds = e * (${dot('g', (i) => `x[vb + ${i}u]`, d)} - own);
      ${unroll(d, (i) => `r${i} += ds * k${i};`, ' ')}
    }
  }
  ${unroll(d, (i) => `dx[qb + ${i}u] = p.scale * r${i};`, ' ')}`,
    }),
    launch({
      label: `attentionBackward.kv.${a.headDim}`,
      inputs: { x: [qkv, 'vec4<f32>'], lse: [lse, 'f32'], dO: [dO, 'vec4<f32>'], ranges: [keyRanges, 'u32'], delta: [delta, 'f32'] },
      outputs: { dx: [dqkv, 'vec4<f32>'] },
      uniforms,
      workgroupSize: [8],
      workgroups: [rows, a.kvHeads],
      body: `
  if (gid.x >= p.tk) { return; }
  let kb = gid.x * p.ks + p.kc + wid.y * ${d}u;
  let vb = gid.x * p.vs + p.vc + wid.y * ${d}u;
  ${quads('k', d, (i) => `p.scale * x[kb + ${i}u]`)}
  ${quads('v', d, (i) => `x[vb + ${i}u]`)}
  ${quads('dk', d, () => 'vec4<f32>()', 'var')}
  ${quads('dv', d, () => 'vec4<f32>()', 'var')}
  for (var j = ranges[gid.x * 2u]; j < min(ranges[gid.x * 2u + 1u], p.tq); j++) {
    for (var h = wid.y * ${group}u; h < (wid.y + 1u) * ${group}u; h++) {
      let qb = j * p.qs + p.qc + h * ${d}u;
      let ob = (j * ${a.heads}u + h) * ${d}u;
      ${quads('q', d, (i) => `x[qb + ${i}u]`)}
      ${quads('g', d, (i) => `dO[ob + ${i}u]`)}
      let e = exp(${dot('k', (i) => `q${i}`, d)} - lse[j * ${a.heads}u + h]);
      let ds = e * (${dot('v', (i) => `g${i}`, d)} - delta[j * ${a.heads}u + h]);
      ${unroll(d, (i) => `dv${i} += e * g${i}; dk${i} += ds * q${i};`, ' ')}
    }
  }
  ${unroll(d, (i) => `dx[kb + ${i}u] = p.scale * dk${i}; dx[vb + ${i}u] = dv${i};`, ' ')}`,
    }),
  ];
};
