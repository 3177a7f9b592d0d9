/**
 * @file What the shaders of a matrix product share: operands with their strides, the place of a workgroup, and the store
 * with everything that comes after the product. A plain product, one of a batch and one shard of a large table differ only
 * in uniforms, so they are one shader.
 */
import type { Node } from '../../graph.ts';
import { weightInputCount } from '../../ops/quantised.ts';
import type { Activation, LoraAttributes, QuantisedAttributes } from '../../ops/types.ts';
import { rowsAndColumns, sizeOf, type Tensor } from '../../tensor.ts';
import { type KernelSpec, unroll } from '../launch.ts';
import { adaptedOf } from './lora-parts.ts';
import { activationOf, MATH } from './math.ts';
import { packedUniforms, quadOf, weightInputs } from './packed.ts';

/** out = act(alpha op(A) op(B) + bias) + residual, or out += alpha op(A) op(B), `batch` times. */
export interface Product {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly bias: Tensor | undefined;
  readonly residual: Tensor | undefined;
  readonly out: Tensor;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly alpha: number;
  readonly activation: Activation;
  readonly accumulate: boolean;
  /** Matrices behind each other in a, b and out. */
  readonly batch: number;
  /** Where A begins and how many elements lie from row to row of it, for columns of a wider matrix. */
  readonly firstA: number;
  readonly rowA: number;
  /** The same of the result (and of the residual). */
  readonly firstOut: number;
  readonly rowOut: number;
  /** B is a weight in few bits: its tensors, and how they are to be read. */
  readonly packed?: { readonly attributes: QuantisedAttributes; readonly inputs: KernelSpec['inputs'] };
  /** Added at the end: what a low-rank adapter makes of `down`. */
  readonly adapter?: { readonly attributes: LoraAttributes; readonly down: Tensor; readonly up: Tensor };
}

function adapterOf(inputs: readonly Tensor[], attributes: LoraAttributes | undefined): Pick<Product, 'adapter'> {
  return attributes === undefined ? {} : { adapter: { attributes, down: inputs.at(-2)!, up: inputs.at(-1)! } };
}

export function productOf(node: Node<'matmul'>): Product {
  const { transposeA, transposeB, alpha, activation, bias, residual, accumulate } = node.attributes;
  const [a, b] = node.inputs as [Tensor, Tensor];
  const [ar, ac] = rowsAndColumns(a);
  const [br, bc] = rowsAndColumns(b);
  const n = transposeB ? br : bc;
  return {
    a,
    b,
    bias: bias ? node.inputs[2] : undefined,
    residual: residual ? node.inputs[bias ? 3 : 2] : undefined,
    out: node.outputs[0]!,
    m: transposeA ? ac : ar,
    n,
    k: transposeA ? ar : ac,
    transposeA, transposeB, alpha, activation, accumulate,
    batch: 1, firstA: 0, rowA: ac, firstOut: 0, rowOut: n,
    ...adapterOf(node.inputs, node.attributes.adapter),
  };
}

/** x W^T, or the way back x W, for a weight in few bits. */
export function packedProductOf({ inputs, outputs, attributes }: Node<'matmulQuantised'>): Product {
  const [a, b] = inputs as [Tensor, Tensor];
  const out = outputs[0]!;
  const { bias, residual, transposed, outFirst, outColumns, rows, columns } = attributes;
  const first = 1 + weightInputCount(attributes);
  const k = transposed ? rows : columns;
  return {
    a,
    b,
    bias: bias ? inputs[first] : undefined,
    residual: residual ? inputs[first + (bias ? 1 : 0)] : undefined,
    out,
    m: rowsAndColumns(out)[0],
    n: transposed ? columns : rows,
    k,
    transposeA: false, transposeB: !transposed, alpha: 1, activation: 'none', accumulate: false,
    batch: 1, firstA: 0, rowA: k, firstOut: outFirst, rowOut: outColumns,
    packed: { attributes, inputs: weightInputs(inputs, attributes) },
    ...adapterOf(inputs, attributes.adapter),
  };
}

export function batchedProductOf(node: Node<'bmm'>): Product {
  const { transposeA, transposeB, alpha, residual, accumulate } = node.attributes;
  const [a, b] = node.inputs as [Tensor, Tensor];
  const [ar, ac] = a.shape.slice(-2) as [number, number];
  const [br, bc] = b.shape.slice(-2) as [number, number];
  const n = transposeB ? br : bc;
  return {
    a,
    b,
    bias: undefined,
    residual: residual ? node.inputs[2] : undefined,
    out: node.outputs[0]!,
    m: transposeA ? ac : ar,
    n,
    k: transposeA ? ar : ac,
    transposeA, transposeB, alpha, activation: 'none', accumulate,
    batch: sizeOf(a.shape.slice(0, -2)), firstA: 0, rowA: ac, firstOut: 0, rowOut: n,
  };
}

/** Whether both operands can be read four numbers at a time: the axis along which each lies in memory is whole vec4s. */
export function wholeVectors({ transposeA, transposeB, m, n, k, rowA, firstA }: Product): boolean {
  return (transposeA ? m : k) % 4 === 0 && (transposeB ? k : n) % 4 === 0 && rowA % 4 === 0 && firstA % 4 === 0;
}

/** Uniforms, bindings and label of a variant; `columns` of the result are a workgroup's. */
export function productSpec(o: Product, variant: string, type: 'f32' | 'vec4<f32>', columns: number) {
  const { packed } = o;
  const kind = packed !== undefined ? `matmul.${packed.attributes.format}.${packed.attributes.bits}` : o.batch > 1 ? 'bmm' : 'matmul';
  return {
    label: `${kind}.${variant}.${o.transposeA ? 'T' : 'N'}${o.transposeB ? 'T' : 'N'}`,
    inputs: {
      a: [o.a, type] as const,
      ...(packed?.inputs ?? { b: [o.b, type] as const }),
      ...(o.bias === undefined ? {} : { bias: [o.bias, 'f32'] as const }),
      ...(o.residual === undefined ? {} : { residual: [o.residual, 'f32'] as const }),
      ...(o.adapter === undefined ? {} : { down: [o.adapter.down, 'f32'] as const, up: [o.adapter.up, 'f32'] as const }),
    },
    outputs: { out: [o.out, 'f32'] as const },
    uniforms: {
      m: ['u32', o.m], n: ['u32', o.n], k: ['u32', o.k], alpha: ['f32', o.alpha],
      tiles: ['u32', Math.ceil(o.n / columns)],
      firstA: ['u32', o.firstA], rowA: ['u32', o.rowA], firstOut: ['u32', o.firstOut], rowOut: ['u32', o.rowOut],
      ...(packed === undefined ? {} : packedUniforms(packed.attributes)),
    } as const,
    header: `${o.activation === 'none' ? '' : MATH}${packed === undefined ? '' : quadOf(packed.attributes)}${o.adapter === undefined ? '' : adaptedOf(o.adapter.attributes)}`,
  };
}

/** An operand as shaders read it: four neighbours in memory at a time. */
export interface Operand {
  readonly name: 'a' | 'b';
  /** WGSL of the numbers from column 4 * column4 on, in a row as it lies in memory. */
  readonly quad: (row: string, column4: string) => string;
  /** WGSL of the size of the axis that is not summed over (m or n). */
  readonly outer: string;
  /** Whether rows in memory lie along the axis that is summed over (k). */
  readonly alongInner: boolean;
}

export function operandsOf(o: Product): { readonly a: Operand; readonly b: Operand } {
  const rowB = o.transposeB ? 'p.k' : 'p.n';
  return {
    a: { name: 'a', quad: (row, column4) => `a[(az + ${row} * p.rowA) / 4u + ${column4}]`, outer: 'p.m', alongInner: !o.transposeA },
    b: { name: 'b', quad: (row, column4) => (o.packed === undefined ? `b[(bz + ${row} * ${rowB}) / 4u + ${column4}]` : `unpackFour(${row}, ${column4})`), outer: 'p.n', alongInner: o.transposeB },
  };
}

/** Workgroups of a launch whose tiles have `rows` x `columns` elements: the matrices of a batch lie beside each other. */
export function productGroups(o: Product, rows: number, columns: number): readonly [number, number] {
  return [Math.ceil(o.n / columns) * o.batch, Math.ceil(o.m / rows)];
}

/** WGSL: the tile of this workgroup (`tile`), and where its matrices begin (`az`, `bz`, `oz`, in elements). */
export const PLACE = /* wgsl */ `
  let z = wid.x / p.tiles;
  let tile = vec2<u32>(wid.x - z * p.tiles, wid.y);
  let az = p.firstA + z * p.m * p.k;
  let bz = z * p.k * p.n;
  let oz = p.firstOut + z * p.m * p.n;`;

/** Statement that stores `value` at row `r`, column `c` (both already checked). */
export function store(o: Product, r: string, c: string, value: string): string {
  const v = activationOf(o.activation, `p.alpha * ${value}${o.bias === undefined ? '' : ` + bias[p.firstOut + ${c}]`}`);
  const at = `oz + ${r} * p.rowOut + ${c}`;
  return o.accumulate ? `out[${at}] += ${v};` : `out[${at}] = ${v}${o.residual === undefined ? '' : ` + residual[${at}]`}${o.adapter === undefined ? '' : ` + adapted(${r}, ${c})`};`;
}

/** Stores of the variants whose lanes own four neighbouring columns. */
export function storeQuads(o: Product, rows: number, r0: string, c0: string): string {
  return unroll(rows, (i) => `if (${r0} + ${i}u < p.m) { ${unroll(4, (j) => `if (${c0} + ${j}u < p.n) { ${store(o, `(${r0} + ${i}u)`, `(${c0} + ${j}u)`, `s${i}[${j}]`)} }`, ' ')} }`);
}
