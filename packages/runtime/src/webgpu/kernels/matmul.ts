/**
 * @file C = act(alpha op(A) op(B) + bias) + residual, or C += alpha op(A) op(B).
 *
 * Variants, one shader for all sizes of a kind (sizes are uniforms, so a new batch shape compiles nothing):
 * - `subgroup8`: a workgroup is one subgroup of 8 lanes and computes 16 rows x 32 columns. A lane loads one row of A
 *   and hands it to the others by `subgroupBroadcast`, so a value of A is fetched once for 8 lanes instead of 8 times.
 *   On lavapipe (AVX2, 2 cores), where a load is one scalar fetch a lane, this reaches 30 to 36 GFLOP/s against 11 to 13
 *   for register tiles without it (measured November 2026, 4096 x 160 x 480; 16 x 4 best of 11 shapes).
 * - `tile`: 4 x 4 register tiles with vec4 loads, 8 x 8 threads; needs nothing optional.
 * - `scalar`: 4 x 4 elements a thread (one where there are few), loads of one number, for inner sizes that are not multiples of four.
 */
import type { Node } from '../../graph.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch, unroll } from '../launch.ts';
import type { Kernel, KernelContext } from './context.ts';
import { activationOf, MATH } from './math.ts';

export const matmulKernel: Kernel<'matmul'> = (node, context) => [matmulLaunch(node, context)];

interface Operands {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly bias: Tensor | undefined;
  readonly residual: Tensor | undefined;
  readonly out: Tensor;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

function operands(node: Node<'matmul'>): Operands {
  const { transposeA, transposeB, bias, residual } = node.attributes;
  const [a, b] = node.inputs as [Tensor, Tensor];
  const [ar, ac] = rowsAndColumns(a);
  const [br, bc] = rowsAndColumns(b);
  return {
    a,
    b,
    bias: bias ? node.inputs[2] : undefined,
    residual: residual ? node.inputs[bias ? 3 : 2] : undefined,
    out: node.outputs[0]!,
    m: transposeA ? ac : ar,
    n: transposeB ? br : bc,
    k: transposeA ? ar : ac,
  };
}

function matmulLaunch(node: Node<'matmul'>, context: KernelContext): Launch {
  const { transposeA, transposeB } = node.attributes;
  const o = operands(node);
  // Which axes must be whole vec4s: the contiguous one of each operand as it lies in memory.
  const vectorA = (transposeA ? o.m : o.k) % 4 === 0;
  const vectorB = (transposeB ? o.k : o.n) % 4 === 0;
  if (!vectorA || !vectorB || (transposeA && transposeB)) return scalar(node, o);
  if (context.subgroup8) {
    if (!transposeA && transposeB) return subgroupNT(node, o);
    if (!transposeA) return subgroupNN(node, o);
    return subgroupTN(node, o);
  }
  return tile(node, o);
}

/** Statement that stores `value` at row `r`, column `c` (both already checked), with everything that comes after the product. */
function store(node: Node<'matmul'>, r: string, c: string, value: string): string {
  const { bias, residual, accumulate, activation } = node.attributes;
  const v = activationOf(activation, `p.alpha * ${value}${bias ? ` + bias[${c}]` : ''}`);
  const at = `${r} * p.n + ${c}`;
  return accumulate ? `out[${at}] += ${v};` : `out[${at}] = ${v}${residual ? ` + residual[${at}]` : ''};`;
}

function spec(node: Node<'matmul'>, o: Operands, variant: string, types: readonly ['f32' | 'vec4<f32>', 'f32' | 'vec4<f32>']) {
  const { transposeA, transposeB, alpha } = node.attributes;
  return {
    label: `matmul.${variant}.${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'}`,
    inputs: {
      a: [o.a, types[0]] as const,
      b: [o.b, types[1]] as const,
      ...(o.bias === undefined ? {} : { bias: [o.bias, 'f32'] as const }),
      ...(o.residual === undefined ? {} : { residual: [o.residual, 'f32'] as const }),
    },
    outputs: { out: [o.out, 'f32'] as const },
    uniforms: { m: ['u32', o.m], n: ['u32', o.n], k: ['u32', o.k], alpha: ['f32', alpha] } as const,
    header: node.attributes.activation === 'none' ? '' : MATH,
  };
}

const ROWS = 16;

/** A [M, K] B [N, K]: both run along K; lane l owns columns l, l + 8, l + 16, l + 24 of the tile. */
function subgroupNT(node: Node<'matmul'>, o: Operands): Launch {
  const columns = 4;
  return launch({
    ...spec(node, o, 'subgroup8', ['vec4<f32>', 'vec4<f32>']),
    enable: 'enable subgroups;',
    workgroupSize: [8],
    workgroups: [Math.ceil(o.n / (8 * columns)), Math.ceil(o.m / ROWS)],
    body: `
  let k4 = p.k / 4u;
  let r0 = wid.y * ${ROWS}u;
  let c0 = wid.x * ${8 * columns}u + lid.x;
  ${unroll(ROWS / 8, (q) => `let pa${q} = min(r0 + ${q * 8}u + lid.x, p.m - 1u) * k4;`)}
  ${unroll(columns, (j) => `let pb${j} = min(c0 + ${j * 8}u, p.n - 1u) * k4;`)}
  ${unroll(ROWS, (i) => unroll(columns, (j) => `var s${i}_${j} = 0.0;`, ' '))}
  for (var k = 0u; k < k4; k++) {
    ${unroll(columns, (j) => `let b${j} = b[pb${j} + k];`)}
    ${unroll(ROWS / 8, (q) => `let av${q} = a[pa${q} + k];`)}
    ${unroll(ROWS, (i) => `{ let a = subgroupBroadcast(av${i >> 3}, ${i & 7}u);
      ${unroll(columns, (j) => `s${i}_${j} = fma(a.x, b${j}.x, fma(a.y, b${j}.y, fma(a.z, b${j}.z, fma(a.w, b${j}.w, s${i}_${j}))));`, ' ')} }`)}
  }
  ${unroll(ROWS, (i) => `if (r0 + ${i}u < p.m) { ${unroll(columns, (j) => `if (c0 + ${j * 8}u < p.n) { ${store(node, `(r0 + ${i}u)`, `(c0 + ${j * 8}u)`, `s${i}_${j}`)} }`, ' ')} }`)}`,
  });
}

/** Stores of the variants whose lanes own four neighbouring columns. */
function storeQuads(node: Node<'matmul'>, rows: number, r0: string, c0: string): string {
  return unroll(rows, (i) => `if (${r0} + ${i}u < p.m) { ${unroll(4, (j) => `if (${c0} + ${j}u < p.n) { ${store(node, `(${r0} + ${i}u)`, `(${c0} + ${j}u)`, `s${i}[${j}]`)} }`, ' ')} }`);
}

/** A [M, K] B [K, N]: lane l owns the four columns 4 l .. 4 l + 3 of the tile. */
function subgroupNN(node: Node<'matmul'>, o: Operands): Launch {
  return launch({
    ...spec(node, o, 'subgroup8', ['vec4<f32>', 'vec4<f32>']),
    enable: 'enable subgroups;',
    workgroupSize: [8],
    workgroups: [Math.ceil(o.n / 32), Math.ceil(o.m / ROWS)],
    body: `
  let k4 = p.k / 4u;
  let n4 = p.n / 4u;
  let r0 = wid.y * ${ROWS}u;
  let c0 = wid.x * 32u + lid.x * 4u;
  let pb = min(wid.x * 8u + lid.x, n4 - 1u);
  ${unroll(ROWS / 8, (q) => `let pa${q} = min(r0 + ${q * 8}u + lid.x, p.m - 1u) * k4;`)}
  ${unroll(ROWS, (i) => `var s${i} = vec4<f32>();`, ' ')}
  for (var k = 0u; k < k4; k++) {
    ${unroll(4, (u) => `let b${u} = b[(k * 4u + ${u}u) * n4 + pb];`)}
    ${unroll(ROWS / 8, (q) => `let av${q} = a[pa${q} + k];`)}
    ${unroll(ROWS, (i) => `{ let a = subgroupBroadcast(av${i >> 3}, ${i & 7}u);
      s${i} = fma(vec4<f32>(a.x), b0, fma(vec4<f32>(a.y), b1, fma(vec4<f32>(a.z), b2, fma(vec4<f32>(a.w), b3, s${i})))); }`)}
  }
  ${storeQuads(node, ROWS, 'r0', 'c0')}`,
  });
}

/** A [K, M] B [K, N] (a weight gradient): lanes 0-3 hold the 16 rows of the tile for step k, lanes 4-7 those for k + 1. */
function subgroupTN(node: Node<'matmul'>, o: Operands): Launch {
  return launch({
    ...spec(node, o, 'subgroup8', ['vec4<f32>', 'vec4<f32>']),
    enable: 'enable subgroups;',
    workgroupSize: [8],
    workgroups: [Math.ceil(o.n / 32), Math.ceil(o.m / ROWS)],
    body: `
  let m4 = p.m / 4u;
  let n4 = p.n / 4u;
  let r0 = wid.y * ${ROWS}u;
  let c0 = wid.x * 32u + lid.x * 4u;
  let pb = min(wid.x * 8u + lid.x, n4 - 1u);
  let pa = min(wid.y * ${ROWS / 4}u + (lid.x & 3u), m4 - 1u);
  let odd = lid.x >> 2u;
  ${unroll(ROWS, (i) => `var s${i} = vec4<f32>();`, ' ')}
  for (var k = 0u; k < p.k; k += 2u) {
    let last = k + 1u >= p.k;
    let k1 = min(k + 1u, p.k - 1u);
    let b0 = b[k * n4 + pb];
    let b1 = select(b[k1 * n4 + pb], vec4<f32>(), last);
    let av = a[select(k, k1, odd == 1u) * m4 + pa];
    ${unroll(4, (q) => `{ let x = subgroupBroadcast(av, ${q}u); let y = subgroupBroadcast(av, ${q + 4}u);
      ${unroll(4, (c) => `s${q * 4 + c} = fma(vec4<f32>(x[${c}]), b0, fma(vec4<f32>(y[${c}]), b1, s${q * 4 + c}));`, ' ')} }`)}
  }
  ${storeQuads(node, ROWS, 'r0', 'c0')}`,
  });
}

/** 4 x 4 outputs a thread with vec4 loads along whatever axis is contiguous. */
function tile(node: Node<'matmul'>, o: Operands): Launch {
  const { transposeA, transposeB } = node.attributes;
  // a_u[i]: element (row i, inner u) of the thread's 4 x 4 block of A; likewise b_u holds four columns at inner u.
  const loadA = transposeA
    ? unroll(4, (u) => `let x${u} = select(a[min(k * 4u + ${u}u, p.k - 1u) * m4 + pa], vec4<f32>(), k * 4u + ${u}u >= p.k);`)
    : `let ta = transpose(mat4x4<f32>(${unroll(4, (i) => `a[min(r0 + ${i}u, p.m - 1u) * k4 + k]`, ', ')}));
    ${unroll(4, (u) => `let x${u} = ta[${u}];`)}`;
  const loadB = transposeB
    ? `let tb = transpose(mat4x4<f32>(${unroll(4, (j) => `b[min(c0 + ${j}u, p.n - 1u) * k4 + k]`, ', ')}));
    ${unroll(4, (u) => `let y${u} = tb[${u}];`)}`
    : unroll(4, (u) => `let y${u} = b[min(k * 4u + ${u}u, p.k - 1u) * n4 + pb];`);
  return launch({
    ...spec(node, o, 'tile', ['vec4<f32>', 'vec4<f32>']),
    workgroupSize: [8, 8],
    workgroups: [Math.ceil(o.n / 32), Math.ceil(o.m / 32)],
    body: `
  let k4 = (p.k + 3u) / 4u;
  let m4 = max(p.m / 4u, 1u);
  let n4 = max(p.n / 4u, 1u);
  let r0 = gid.y * 4u;
  let c0 = gid.x * 4u;
  let pa = min(gid.y, m4 - 1u);
  let pb = min(gid.x, n4 - 1u);
  ${unroll(4, (i) => `var s${i} = vec4<f32>();`, ' ')}
  for (var k = 0u; k < k4; k++) {
    ${loadA}
    ${loadB}
    ${unroll(4, (i) => `s${i} = fma(vec4<f32>(x0[${i}]), y0, fma(vec4<f32>(x1[${i}]), y1, fma(vec4<f32>(x2[${i}]), y2, fma(vec4<f32>(x3[${i}]), y3, s${i}))));`)}
  }
  ${storeQuads(node, 4, 'r0', 'c0')}`,
  });
}

/** Any size, any transposition: one element a thread. */
function scalar(node: Node<'matmul'>, o: Operands): Launch {
  const { transposeA, transposeB } = node.attributes;
  const columns = o.n >= 16 ? 4 : 1;
  const rows = o.m >= 16 ? 4 : 1;
  // What lies outside is computed from the last row or column and not stored.
  return launch({
    ...spec(node, o, `scalar.${rows}x${columns}`, ['f32', 'f32']),
    workgroupSize: [8, 8],
    workgroups: [Math.ceil(o.n / (8 * columns)), Math.ceil(o.m / (8 * rows))],
    body: `
  ${unroll(rows, (i) => `let r${i} = wid.y * ${8 * rows}u + ${8 * i}u + lid.y; let a${i} = min(r${i}, p.m - 1u);`)}
  ${unroll(columns, (j) => `let c${j} = wid.x * ${8 * columns}u + ${8 * j}u + lid.x; let b${j} = min(c${j}, p.n - 1u);`)}
  ${unroll(rows, (i) => unroll(columns, (j) => `var s${i}_${j} = 0.0;`, ' '))}
  for (var k = 0u; k < p.k; k++) {
    ${unroll(columns, (j) => `let y${j} = b[${transposeB ? `b${j} * p.k + k` : `k * p.n + b${j}`}];`)}
    ${unroll(rows, (i) => `let x${i} = a[${transposeA ? `k * p.m + a${i}` : `a${i} * p.k + k`}];
    ${unroll(columns, (j) => `s${i}_${j} = fma(x${i}, y${j}, s${i}_${j});`, ' ')}`)}
  }
  ${unroll(rows, (i) => unroll(columns, (j) => `if (r${i} < p.m && c${j} < p.n) { ${store(node, `r${i}`, `c${j}`, `s${i}_${j}`)} }`))}`,
  });
}
