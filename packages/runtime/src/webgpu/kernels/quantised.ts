/**
 * @file Products with weights in 4, 8 and 16 bits, which are unpacked word by word in registers and never lie in memory whole.
 * Few rows (decoding): a column is one thread's or a team's. Many rows (prefill, training): 4 x 4 tiles; the way back: a word of
 * columns. GPUs take the tiles of other products for both (`matmul-block.ts`), which unpack on the way into workgroup memory.
 */
import type { Node } from '../../graph.ts';
import { weightInputCount } from '../../ops/quantised.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch, type Launch, unroll } from '../launch.ts';
import type { Kernel, KernelContext } from './context.ts';
import { productLaunch } from './matmul.ts';
import { layout, valueOf, weightInputs } from './packed.ts';
import { operandsOf, packedProductOf, PLACE, type Product, productSpec, store, wholeVectors } from './product.ts';
import { place, teamFor, teamGroups, teamHeader, together } from './team.ts';

export const matmulQuantisedKernel: Kernel<'matmulQuantised'> = (node, context) => {
  const { attributes } = node;
  const product = packedProductOf(node);
  const { a: x, out, m, bias, residual } = product;
  if (context.cooperative && wholeVectors(product)) return [m <= NARROW_ROWS && !attributes.transposed ? shared(product, context) : productLaunch(product, context)];
  if (attributes.transposed) return [back(node, x, out, m, residual)];
  return [m <= NARROW_ROWS ? narrow(node, x, out, m, bias, residual) : wide(node, x, out, m, bias, residual)];
};

/** Up to this many rows one thread makes a column of all of them. */
const NARROW_ROWS = 8;
/** Rows and columns of outputs a thread makes in the others. */
const TILE = 4;

/** Forward: 4 x 4 outputs a thread, one word of each of its four weight rows at a time. */
function wide(node: Node<'matmulQuantised'>, x: Tensor, out: Tensor, m: number, bias: Tensor | undefined, residual: Tensor | undefined): Launch {
  const { rows, columns, blockSize } = node.attributes;
  const { perWord, words, blocks } = layout(node.attributes);
  return launch({
    label: 'matmulQuantised.wide',
    inputs: { x: [x, 'f32'], ...weightInputs(node.inputs, node.attributes), ...(bias === undefined ? {} : { bias: [bias, 'f32'] as const }), ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
    outputs: { out: [out, 'f32'] },
    uniforms: { m: ['u32', m], n: ['u32', rows], k: ['u32', columns], words: ['u32', words], blocks: ['u32', blocks] },
    header: valueOf(node.attributes),
    workgroupSize: [8, 8],
    workgroups: [Math.ceil(rows / (8 * TILE)), Math.ceil(m / (8 * TILE))],
    body: `
  let r0 = gid.y * ${TILE}u;
  let c0 = gid.x * ${TILE}u;
  ${unroll(TILE, (i) => `var s${i} = vec4<f32>(); let x${i} = min(r0 + ${i}u, p.m - 1u) * p.k;`)}
  ${unroll(TILE, (j) => `let n${j} = min(c0 + ${j}u, p.n - 1u);`)}
  for (var w = 0u; w < p.words; w++) {
    let first = w * ${perWord}u;
    let block = first / ${blockSize}u;
    ${unroll(TILE, (j) => `let w${j} = data[n${j} * p.words + w];`)}
    for (var i = 0u; i < ${perWord}u; i++) {
      let k = first + i;
      if (k >= p.k) { break; }
      let v = vec4<f32>(${unroll(TILE, (j) => `value(w${j}, i, n${j} * p.blocks + block)`, ', ')});
      ${unroll(TILE, (i) => `s${i} = fma(vec4<f32>(x[x${i} + k]), v, s${i});`, ' ')}
    }
  }
  ${unroll(TILE, (i) => `if (r0 + ${i}u < p.m) { ${unroll(TILE, (j) => `if (c0 + ${j}u < p.n) { let at = (r0 + ${i}u) * ${node.attributes.outColumns}u + ${node.attributes.outFirst}u + c0 + ${j}u; out[at] = s${i}[${j}]${bias === undefined ? '' : ` + bias[c0 + ${j}u]`}${residual === undefined ? '' : ' + residual[at]'}; }`, ' ')} }`)}`,
  });
}

/** Back (x W): a thread makes, for four rows, the columns of one word. */
function back(node: Node<'matmulQuantised'>, dy: Tensor, out: Tensor, m: number, residual: Tensor | undefined): Launch {
  const { rows, columns, blockSize } = node.attributes;
  const { perWord, words, blocks } = layout(node.attributes);
  return launch({
    label: 'matmulQuantised.back',
    inputs: { dy: [dy, 'f32'], ...weightInputs(node.inputs, node.attributes), ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
    outputs: { out: [out, 'f32'] },
    uniforms: { m: ['u32', m], n: ['u32', rows], k: ['u32', columns], words: ['u32', words], blocks: ['u32', blocks] },
    header: valueOf(node.attributes),
    workgroupSize: [8, 8],
    workgroups: [Math.ceil(words / 8), Math.ceil(m / (8 * TILE))],
    body: `
  if (gid.x >= p.words) { return; }
  let r0 = gid.y * ${TILE}u;
  let first = gid.x * ${perWord}u;
  let block = first / ${blockSize}u;
  ${unroll(TILE, (r) => `let d${r} = min(r0 + ${r}u, p.m - 1u) * p.n;`)}
  ${unroll(perWord, (i) => `var s${i} = vec4<f32>();`, ' ')}
  for (var n = 0u; n < p.n; n++) {
    let word = data[n * p.words + gid.x];
    let g = vec4<f32>(${unroll(TILE, (r) => `dy[d${r} + n]`, ', ')});
    let at = n * p.blocks + block;
    ${unroll(perWord, (i) => `s${i} = fma(vec4<f32>(value(word, ${i}u, at)), g, s${i});`)}
  }
  ${unroll(perWord, (i) => `if (first + ${i}u < p.k) { ${unroll(TILE, (r) => `if (r0 + ${r}u < p.m) { let at = (r0 + ${r}u) * p.k + first + ${i}u; out[at] = s${i}[${r}]${residual === undefined ? '' : ' + residual[at]'}; }`, ' ')} }`)}`,
  });
}

/** Each thread makes one column of all (at most eight) rows. */
function narrow(node: Node<'matmulQuantised'>, x: Tensor, out: Tensor, m: number, bias: Tensor | undefined, residual: Tensor | undefined): Launch {
  const { rows, columns, blockSize } = node.attributes;
  const { perWord, words, blocks } = layout(node.attributes);
  const each = (f: (r: number) => string) => Array.from({ length: m }, (_, r) => f(r)).join('\n  ');
  return launch({
    label: `matmulQuantised.narrow${m}`,
    inputs: { x: [x, 'f32'], ...weightInputs(node.inputs, node.attributes), ...(bias === undefined ? {} : { bias: [bias, 'f32'] as const }), ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
    outputs: { out: [out, 'f32'] },
    uniforms: { n: ['u32', rows], k: ['u32', columns], words: ['u32', words], blocks: ['u32', blocks] },
    header: valueOf(node.attributes),
    workgroupSize: [64],
    workgroups: [Math.ceil(rows / 64)],
    body: `
  if (gid.x >= p.n) { return; }
  ${each((r) => `var s${r} = 0.0;`)}
  for (var w = 0u; w < p.words; w++) {
    let word = data[gid.x * p.words + w];
    let first = w * ${perWord}u;
    let block = gid.x * p.blocks + first / ${blockSize}u;
    for (var i = 0u; i < ${perWord}u; i++) {
      let c = first + i;
      if (c < p.k) {
        let v = value(word, i, block);
        ${each((r) => `s${r} = fma(v, x[${r}u * p.k + c], s${r});`)}
      }
    }
  }
  ${each((r) => `out[${r * node.attributes.outColumns + node.attributes.outFirst}u + gid.x] = s${r}${bias === undefined ? '' : ' + bias[gid.x]'}${residual === undefined ? '' : ` + residual[${r}u * p.n + gid.x]`};`)}`,
  });
}

/** A team makes one column of all (at most eight) rows: its lanes read a row of the weight side by side. */
function shared(o: Product, context: KernelContext): Launch {
  const { m } = o;
  // Four rows meet at a time.
  const fours = Math.ceil(m / 4);
  const team = teamFor(context, Math.min(o.k / 4, 128));
  const spec = productSpec(o, `shared${m}`, 'vec4<f32>', team.rows);
  const { a, b } = operandsOf(o);
  return launch({
    ...spec,
    header: `${spec.header}\n${teamHeader(team, 'vec4<f32>')}`,
    workgroupSize: [team.size],
    workgroups: [teamGroups(team, o.n)],
    body: `${PLACE}
  ${place(team, 'p.n')}
  ${unroll(fours, (f) => `var s${f} = vec4<f32>();`, ' ')}
  for (var c = lane; c < p.k / 4u; c += LANES) {
    let w = ${b.quad('row', 'c')};
    ${unroll(m, (r) => `s${r >> 2}[${r & 3}] += dot(w, ${a.quad(`${r}u`, 'c')});`, ' ')}
  }
  ${unroll(fours, (f) => together(team, `s${f}`))}
  if (!inside) { return; }
  // A team may have fewer lanes than there are rows.
  for (var r = lane; r < ${m}u; r += LANES) {
    let s = ${fours === 1 ? 's0[r]' : 'select(s0[r & 3u], s1[r & 3u], r >= 4u)'};
    ${store(o, 'r', 'row', 's')}
  }`,
  });
}

export const embedQuantisedKernel: Kernel<'embedQuantised'> = (node) => {
  const { rows, columns, blockSize, first, before } = node.attributes;
  const { perWord, words, blocks } = layout(node.attributes);
  const out = node.outputs[0]!;
  const [t] = rowsAndColumns(out);
  return [
    launch({
      label: 'embedQuantised',
      inputs: { ids: [node.inputs[0]!, 'i32'], ...weightInputs(node.inputs, node.attributes), ...(before ? { before: [node.inputs[1 + weightInputCount(node.attributes)]!, 'f32'] as const } : {}) },
      outputs: { out: [out, 'f32'] },
      uniforms: { t: ['u32', t], columns: ['u32', columns], words: ['u32', words], blocks: ['u32', blocks], first: ['i32', first], rows: ['i32', rows] },
      header: valueOf(node.attributes),
      workgroupSize: [64],
      workgroups: [Math.ceil((t * columns) / 64)],
      body: `
  if (gid.x >= p.t * p.columns) { return; }
  let column = gid.x % p.columns;
  let row = ids[gid.x / p.columns] - p.first;
  if (row < 0 || row >= p.rows) { out[gid.x] = ${before ? 'before[gid.x]' : '0.0'}; return; }
  out[gid.x] = value(data[u32(row) * p.words + column / ${perWord}u], column % ${perWord}u, u32(row) * p.blocks + column / ${blockSize}u);`,
    }),
  ];
};
