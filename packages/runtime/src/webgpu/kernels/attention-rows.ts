/**
 * @file Attention of few queries over many keys on GPUs proper, as in decoding, where the queries (rows in flight) look at
 * places far from each other: a workgroup for one query and the heads that share its keys, up to four. It walks over
 * nothing but the keys of the query's ranges, laid end to end, 64 at a time:
 *
 * 1. products: eight threads a key, each with every eighth vec4 of it, so that a row of memory is read in one go;
 * 2. scores: a thread for each key and head adds up what the eight have found;
 * 3. weights: an octet of keys keeps a largest score and a sum of its own, as if it were alone (online softmax);
 * 4. sums: a slice of the threads for every few keys, a thread for each vec4 of a value.
 *
 * At the end octets and slices are merged. 256 threads, below 14 KiB of workgroup memory. What is fetched for the sums is
 * asked for before the products are added up, as little else hides how long memory takes when few rows are in flight.
 */
import type { AttentionAttributes } from '../../ops/types.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch, unroll } from '../launch.ts';
import { strides } from './attention-parts.ts';

const THREADS = 256;
/** Keys at a time, and of which each eight have a softmax of their own. */
const KEYS = 64;
const OCTETS = KEYS / 8;
/** Heads that share keys and have a workgroup together. */
const MOST_HEADS = THREADS / KEYS;
/** Numbers from one component of a merged vec4 to the next; shifts the banks. */
const PLANE = THREADS + 8;

export function attentionRows(a: AttentionAttributes, [q, k, v, ranges]: readonly [Tensor, Tensor, Tensor, Tensor], [o, lse]: readonly [Tensor, Tensor]): Launch {
  const d = a.headDim / 4;
  const group = a.heads / a.kvHeads;
  const blocks = Math.ceil(group / MOST_HEADS);
  const heads = Math.ceil(group / blocks);
  // Threads of a key and the vec4s of each; keys of a thread.
  const lanes = powerOfTwo(Math.min(8, d));
  const steps = Math.ceil(d / lanes);
  const passes = Math.max(1, (KEYS * lanes) / THREADS);
  // Slices of keys in the sums and the keys of each.
  const slices = Math.min(KEYS, powerOfTwo(THREADS / d));
  const each = KEYS / slices;
  const eachHead = (f: (h: number) => string) => unroll(heads, f);
  return launch({
    label: `attention.rows.${a.headDim}.${heads}`,
    inputs: { query: [q, 'vec4<f32>'], k: [k, 'vec4<f32>'], v: [v, 'vec4<f32>'], ranges: [ranges, 'u32'] },
    outputs: { result: [o, 'f32'], lse: [lse, 'f32'] },
    uniforms: strides(a, q, k, v),
    header: `
var<workgroup> queries: array<vec4<f32>, ${heads * steps * lanes}>;
// Of each thread in the products; later components of the sums.
var<workgroup> parts: array<f32, ${Math.max(heads * KEYS * lanes, 4 * PLANE)}>;
var<workgroup> scores: array<f32, ${heads * KEYS}>;
var<workgroup> weights: array<f32, ${heads * KEYS}>;
// By head and octet: what the sums so far are to be multiplied with; in the end the largest scores.
var<workgroup> factors: array<f32, ${heads * OCTETS}>;
var<workgroup> largest: array<f32, ${heads * OCTETS}>;`,
    workgroupSize: [THREADS],
    workgroups: [rowsAndColumns(q)[0], a.kvHeads * blocks],
    body: `
  let row = wid.x;
  if (row >= p.tq) { return; }
  let thread = lid.x;
  let kv = wid.y / ${blocks}u * ${d}u;
  let head = wid.y / ${blocks}u * ${group}u + wid.y % ${blocks}u * ${heads}u;
  let last = (wid.y / ${blocks}u + 1u) * ${group}u - 1u;
  for (var i = thread; i < ${heads * steps * lanes}u; i += ${THREADS}u) {
    let e = i % ${steps * lanes}u;
    let h = min(head + i / ${steps * lanes}u, last);
    queries[i] = select(vec4<f32>(), p.scale * query[row * p.qs + p.qc + h * ${d}u + min(e, ${d - 1}u)], e < ${d}u);
  }
  workgroupBarrier();
  // Key n of the row lies at n + shift0, shift1 or shift2.
  ${unroll(3, (r) => `let low${r} = ranges[row * 6u + ${2 * r}u]; let length${r} = max(low${r}, min(ranges[row * 6u + ${2 * r + 1}u], p.tk)) - low${r};`)}
  let second = length0;
  let third = length0 + length1;
  let total = third + length2;
  let shift0 = low0;
  let shift1 = low1 - second;
  let shift2 = low2 - third;
  let lane = thread % ${lanes}u;
  let keyOfLane = thread / ${lanes}u;
  let scored = thread < ${heads * KEYS}u;
  let slice = thread / ${d}u;
  let column = thread % ${d}u;
  let summing = slice < ${slices}u;
  let octet = min(slice, ${slices - 1}u) * ${each}u / 8u;
  var m = -1e30;
  var l = 0.0;
  ${eachHead((h) => `var o${h} = vec4<f32>();`)}
  for (var tile = 0u; tile < total; tile += ${KEYS}u) {
    if (keyOfLane < ${KEYS}u) {
      ${unroll(passes, (n) => `let k${n} = ${keyAt(`tile + keyOfLane + ${(n * THREADS) / lanes}u`)} * p.ks + p.kc + kv;`)}
      ${unroll(passes, (n) => unroll(steps, (s) => `let k${n}_${s} = k[k${n} + min(lane + ${s * lanes}u, ${d - 1}u)];`, ' '))}
      ${eachHead((h) => `{
        ${unroll(steps, (s) => `let q${s} = queries[${h * steps * lanes + s * lanes}u + lane];`, ' ')}
        ${unroll(passes, (n) => `parts[${h * KEYS * lanes + n * THREADS}u + thread] = ${unroll(steps, (s) => `dot(q${s}, k${n}_${s})`, ' + ')};`)} }`)}
    }
    ${unroll(each, (n) => `let v${n} = v[${keyAt(`tile + slice * ${each}u + ${n}u`)} * p.vs + p.vc + kv + column];`)}
    workgroupBarrier();
    let live = scored && tile + thread % ${KEYS}u < total;
    var s = -1e30;
    if (scored) {
      // Each thread begins elsewhere, so that neighbours read different banks.
      ${lanes === 1 ? 'let found = parts[thread];' : `var found = 0.0; ${unroll(lanes, (n) => `found += parts[thread * ${lanes}u + (thread / ${32 / lanes}u + ${n}u) % ${lanes}u];`, ' ')}`}
      s = select(s, found, live);
      scores[thread] = s;
    }
    workgroupBarrier();
    if (scored) {
      let octet_ = thread / 8u * 8u;
      let n = max(m, ${Array.from({ length: 8 }, (_, n) => `scores[octet_ + ${n}u]`).reduce((x, y) => `max(${x}, ${y})`)});
      let c = exp(m - n);
      let e = select(0.0, exp(s - n), live);
      m = n;
      l = l * c + e;
      weights[thread] = e;
      if (thread % 8u == 0u) { factors[thread / 8u] = c; }
    }
    workgroupBarrier();
    ${eachHead((h) => `o${h} *= factors[${h * OCTETS}u + octet]; ${unroll(each, (n) => `o${h} = fma(vec4<f32>(weights[${h * KEYS}u + min(slice, ${slices - 1}u) * ${each}u + ${n}u]), v${n}, o${h});`, ' ')}`)}
  }
  // The octets' softmaxes become one: the sums of each are multiplied with its factor over what all have together.
  if (scored) {
    scores[thread] = l;
    if (thread % 8u == 0u) { largest[thread / 8u] = m; }
  }
  workgroupBarrier();
  let merging = thread < ${heads * OCTETS}u;
  let top = ${Array.from({ length: OCTETS }, (_, n) => `largest[min(thread / ${OCTETS}u, ${heads - 1}u) * ${OCTETS}u + ${n}u]`).reduce((x, y) => `max(${x}, ${y})`)};
  var factor = 0.0;
  if (merging) {
    factor = exp(largest[thread] - top);
    weights[thread] = factor * (${unroll(8, (n) => `scores[thread * 8u + ${n}u]`, ' + ')});
  }
  workgroupBarrier();
  if (merging) {
    let h = thread / ${OCTETS}u;
    let sum = ${unroll(OCTETS, (n) => `weights[h * ${OCTETS}u + ${n}u]`, ' + ')};
    factors[thread] = select(0.0, factor / sum, sum > 0.0);
    if (thread % ${OCTETS}u == 0u && head + h <= last) { lse[row * ${a.heads}u + head + h] = select(0.0, top + log(sum), sum > 0.0); }
  }
  workgroupBarrier();
  ${eachHead((h) => `
  if (summing) { let x = o${h} * factors[${h * OCTETS}u + octet]; ${unroll(4, (e) => `parts[${e * PLANE}u + thread] = x[${e}];`, ' ')} }
  workgroupBarrier();
  if (thread < ${4 * d}u && head + ${h}u <= last) {
    let at = thread % 4u * ${PLANE}u + thread / 4u;
    var x = 0.0;
    for (var n = 0u; n < ${slices}u; n++) { x += parts[at + n * ${d}u]; }
    result[(row * ${a.heads}u + head + ${h}u) * ${4 * d}u + thread] = x;
  }
  workgroupBarrier();`)}`,
  });
}

/** WGSL: the row of the n-th key that this query sees; past the last one, of the last. */
function keyAt(n: string): string {
  return `(min(${n}, total - 1u) + select(select(shift2, shift1, min(${n}, total - 1u) < third), shift0, min(${n}, total - 1u) < second))`;
}

/** The largest power of two that is not above x. */
function powerOfTwo(x: number): number {
  return 2 ** Math.floor(Math.log2(x));
}
