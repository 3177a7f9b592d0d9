/**
 * @file Attention over key ranges, forward and backward, one (row, head) a thread, online softmax, four keys at a time.
 * No score matrix: the backward pass recomputes P from the log-sum-exp. Which keys a query sees is data, not code:
 * causal, windowed, packed and prefix-sharing layouts use the same three shaders. GPUs proper work in tiles
 * (`attention-block.ts`) or, where few queries look at many keys, at one query a workgroup (`attention-rows.ts`).
 */
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, unroll } from '../launch.ts';
import { attentionBackwardBlock, attentionBlock } from './attention-block.ts';
import { headVectors, strides } from './attention-parts.ts';
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
  const h = headVectors(d);
  const score = (j: number) => h.dot(`s${j}`, 'q', (i) => `k[kb + ${j}u * p.ks + ${i}]`);
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
  ${h.declare('q', (i) => `p.scale * query[qb + ${i}]`)}
  var m = -1e30;
  var l = 0.0;
  ${h.declare('o', () => 'vec4<f32>()')}
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
      ${h.each((i) => `${h.at('o', i)} = ${h.at('o', i)} * c + e0 * v[vb + ${i}] + e1 * v[vb + p.vs + ${i}] + e2 * v[vb + 2u * p.vs + ${i}] + e3 * v[vb + 3u * p.vs + ${i}];`)}
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
      ${h.each((i) => `${h.at('o', i)} = ${h.at('o', i)} * c + e0 * v[vb + ${i}];`)}
    }
  }
  let f = select(0.0, 1.0 / l, l > 0.0);
  let ob = (gid.x * ${a.heads}u + head) * ${d}u;
  ${h.each((i) => `result[ob + ${i}] = ${h.at('o', i)} * f;`)}
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
  const h = headVectors(d);
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
  ${h.declare('q', (i) => `p.scale * x[qb + ${i}]`)}
  ${h.declare('g', (i) => `dO[ob + ${i}]`)}
  ${h.dot('own', 'g', (i) => `o[ob + ${i}]`)}
  let z = lse[gid.x * ${a.heads}u + head];
  delta[gid.x * ${a.heads}u + head] = own;
  ${h.declare('sum', () => 'vec4<f32>()')}
  for (var r = 0u; r < 6u; r += 2u) {
    for (var j = ranges[gid.x * 6u + r]; j < min(ranges[gid.x * 6u + r + 1u], p.tk); j++) {
      let kb = j * p.ks + p.kc + kv;
      let vb = j * p.vs + p.vc + kv;
      ${h.declare('k', (i) => `x[kb + ${i}]`)}
      ${h.dot('s', 'q', (i) => h.at('k', i))}
      ${h.dot('t', 'g', (i) => `x[vb + ${i}]`)}
      let ds = exp(s - z) * (t - own);
      ${h.each((i) => `${h.at('sum', i)} += ds * ${h.at('k', i)};`)}
    }
  }
  ${h.each((i) => `dx[qb + ${i}] = p.scale * ${h.at('sum', i)};`)}`,
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
  ${h.declare('k', (i) => `p.scale * x[kb + ${i}]`)}
  ${h.declare('v', (i) => `x[vb + ${i}]`)}
  ${h.declare('dk', () => 'vec4<f32>()')}
  ${h.declare('dv', () => 'vec4<f32>()')}
  for (var j = ranges[gid.x * 2u]; j < min(ranges[gid.x * 2u + 1u], p.tq); j++) {
    for (var head = wid.y * ${group}u; head < (wid.y + 1u) * ${group}u; head++) {
      let qb = j * p.qs + p.qc + head * ${d}u;
      let ob = (j * ${a.heads}u + head) * ${d}u;
      ${h.declare('q', (i) => `x[qb + ${i}]`)}
      ${h.declare('g', (i) => `dO[ob + ${i}]`)}
      ${h.dot('s', 'k', (i) => h.at('q', i))}
      ${h.dot('t', 'v', (i) => h.at('g', i))}
      let weight = exp(s - lse[j * ${a.heads}u + head]);
      let ds = weight * (t - delta[j * ${a.heads}u + head]);
      ${h.each((i) => `${h.at('dv', i)} += weight * ${h.at('g', i)}; ${h.at('dk', i)} += ds * ${h.at('q', i)};`)}
    }
  }
  ${h.each((i) => `dx[kb + ${i}] = p.scale * ${h.at('dk', i)}; dx[vb + ${i}] = ${h.at('dv', i)};`)}`,
    }),
  ];
};
