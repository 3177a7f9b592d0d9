/**
 * @file Products with weights in 4, 8 and 16 bits, which are unpacked word by word in registers and never lie in memory whole.
 * Few rows (decoding): one column a thread. Many rows (prefill, training): 4 x 4 tiles. The way back: a word of columns.
 */
import type { Node } from '../../graph.ts';
import { NF4 } from '../../ops/nf4.ts';
import { weightInputCount } from '../../ops/quantised.ts';
import type { QuantisedAttributes } from '../../ops/types.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { type KernelSpec, launch, type Launch, unroll } from '../launch.ts';
import type { Kernel } from './context.ts';

/** WGSL of `value(word, i, block)`: the i-th value of a word of the given block. */
export function valueOf({ format, bits, zeros }: QuantisedAttributes): string {
  if (format === 'f16') return 'fn value(word: u32, i: u32, block: u32) -> f32 { return unpack2x16float(word)[i]; }';
  const mask = 2 ** bits - 1;
  const q = `(word >> (i * ${bits}u)) & ${mask}u`;
  if (format === 'nf4') {
    return `
const NF4 = array<f32, 16>(${NF4.map((v) => `f32(${v})`).join(', ')});
fn value(word: u32, i: u32, block: u32) -> f32 { return NF4[${q}] * scales[block]; }`;
  }
  return `
fn value(word: u32, i: u32, block: u32) -> f32 { return (f32(${q}) - ${zeros ? 'zeros[block]' : `${2 ** (bits - 1)}.0`}) * scales[block]; }`;
}

/** Bindings of a weight, whose tensors follow the first input of an operation. */
export function weightInputs(inputs: readonly Tensor[], { format, zeros: shifted }: QuantisedAttributes): KernelSpec['inputs'] {
  const [, data, scales, zeros] = inputs as [Tensor, Tensor, Tensor, Tensor];
  return { data: [data, 'u32'], ...(format === 'f16' ? {} : { scales: [scales, 'f32'] as const }), ...(shifted ? { zeros: [zeros, 'f32'] as const } : {}) };
}

/** Words and blocks of a row, for the shaders. */
export function layout({ bits, blockSize, columns }: QuantisedAttributes) {
  const blocks = Math.ceil(columns / blockSize);
  return { perWord: 32 / bits, words: (blocks * blockSize * bits) / 32, blocks };
}

export const matmulQuantisedKernel: Kernel<'matmulQuantised'> = (node) => {
  const { attributes } = node;
  const x = node.inputs[0]!;
  const out = node.outputs[0]!;
  const m = rowsAndColumns(out)[0];
  const first = 1 + weightInputCount(attributes);
  const bias = attributes.bias ? node.inputs[first] : undefined;
  const residual = attributes.residual ? node.inputs[first + (attributes.bias ? 1 : 0)] : undefined;
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
