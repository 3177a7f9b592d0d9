/**
 * @file Products with 4- and 8-bit weights. Few rows (decoding): one output a thread, which unpacks words as it goes, so a
 * step reads the weight once in its packed form. Many rows (prefill, training): the weight is unpacked into scratch
 * memory, which the plan shares between projections, and the dense product with its tiles follows.
 */
import type { Node } from '../../graph.ts';
import { NF4 } from '../../ops/nf4.ts';
import { UNPACK_FROM_ROWS } from '../../ops/quantised.ts';
import type { QuantisedAttributes } from '../../ops/types.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { type KernelSpec, launch, type Launch } from '../launch.ts';
import type { Kernel } from './context.ts';
import { matmulKernel } from './matmul.ts';

/** WGSL of `value(word, i, block)`: the i-th value of a word of the given block. */
function valueOf({ format, bits, zeros }: QuantisedAttributes): string {
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

function weightInputs(node: Node<'matmulQuantised' | 'embedQuantised'>): KernelSpec['inputs'] {
  const [, data, scales, zeros] = node.inputs as [Tensor, Tensor, Tensor, Tensor];
  return { data: [data, 'u32'], scales: [scales, 'f32'], ...(node.attributes.zeros ? { zeros: [zeros, 'f32'] as const } : {}) };
}

/** Words and blocks of a row, for the shaders. */
function layout({ bits, blockSize, columns }: QuantisedAttributes) {
  const blocks = Math.ceil(columns / blockSize);
  return { perWord: 32 / bits, words: (blocks * blockSize * bits) / 32, blocks };
}

export const matmulQuantisedKernel: Kernel<'matmulQuantised'> = (node, context) => {
  const { attributes } = node;
  const x = node.inputs[0]!;
  const [out, scratch] = node.outputs as readonly [Tensor, Tensor];
  const m = rowsAndColumns(out)[0];
  const first = attributes.zeros ? 4 : 3;
  const bias = attributes.bias ? node.inputs[first] : undefined;
  const residual = attributes.residual ? node.inputs[first + (attributes.bias ? 1 : 0)] : undefined;
  if (!attributes.transposed && m < UNPACK_FROM_ROWS) return [narrow(node, x, out, m, bias, residual)];
  const dense: Node<'matmul'> = {
    op: 'matmul',
    inputs: [x, scratch, ...[bias, residual].filter((t) => t !== undefined)],
    outputs: [out],
    attributes: { transposeA: false, transposeB: !attributes.transposed, alpha: 1, activation: 'none', bias: bias !== undefined, residual: residual !== undefined, accumulate: false },
  };
  return [unpack(node, scratch), ...matmulKernel(dense, context)];
};

/** One word a thread. */
function unpack(node: Node<'matmulQuantised'>, scratch: Tensor): Launch {
  const { rows, columns, blockSize } = node.attributes;
  const { perWord, words, blocks } = layout(node.attributes);
  return launch({
    label: 'unpack',
    inputs: weightInputs(node),
    outputs: { out: [scratch, 'f32'] },
    uniforms: { rows: ['u32', rows], columns: ['u32', columns], words: ['u32', words], blocks: ['u32', blocks] },
    header: valueOf(node.attributes),
    workgroupSize: [64],
    workgroups: [Math.ceil((rows * words) / 64)],
    body: `
  if (gid.x >= p.rows * p.words) { return; }
  let row = gid.x / p.words;
  let column = gid.x % p.words * ${perWord}u;
  let word = data[gid.x];
  let block = row * p.blocks + column / ${blockSize}u;
  for (var i = 0u; i < ${perWord}u; i++) { if (column + i < p.columns) { out[row * p.columns + column + i] = value(word, i, block); } }`,
  });
}

/** Each thread makes one column of all (at most eight) rows. */
function narrow(node: Node<'matmulQuantised'>, x: Tensor, out: Tensor, m: number, bias: Tensor | undefined, residual: Tensor | undefined): Launch {
  const { rows, columns, blockSize } = node.attributes;
  const { perWord, words, blocks } = layout(node.attributes);
  const each = (f: (r: number) => string) => Array.from({ length: m }, (_, r) => f(r)).join('\n  ');
  return launch({
    label: `matmulQuantised.narrow${m}`,
    inputs: { x: [x, 'f32'], ...weightInputs(node), ...(bias === undefined ? {} : { bias: [bias, 'f32'] as const }), ...(residual === undefined ? {} : { residual: [residual, 'f32'] as const }) },
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
  ${each((r) => `out[${r}u * p.n + gid.x] = s${r}${bias === undefined ? '' : ' + bias[gid.x]'}${residual === undefined ? '' : ` + residual[${r}u * p.n + gid.x]`};`)}`,
  });
}

export const embedQuantisedKernel: Kernel<'embedQuantised'> = (node) => {
  const { rows, columns, blockSize, first, before, zeros } = node.attributes;
  const { perWord, words, blocks } = layout(node.attributes);
  const out = node.outputs[0]!;
  const [t] = rowsAndColumns(out);
  return [
    launch({
      label: 'embedQuantised',
      inputs: { ids: [node.inputs[0]!, 'i32'], ...weightInputs(node), ...(before ? { before: [node.inputs[zeros ? 4 : 3]!, 'f32'] as const } : {}) },
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
