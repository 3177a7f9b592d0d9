/** @file WGSL pieces that the attention kernels share. */
import type { AttentionAttributes } from '../../ops/types.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { unroll } from '../launch.ts';

/** Declares `name0 .. name{D/4-1}` from an expression of the vec4 index. */
export function quads(name: string, count: number, value: (i: number) => string, keyword = 'let'): string {
  return unroll(count, (i) => `${keyword} ${name}${i} = ${value(i)};`, ' ');
}

export function dot(a: string, b: (i: number) => string, count: number): string {
  return unroll(count, (i) => `dot(${a}${i}, ${b(i)})`, ' + ');
}

/**
 * The vec4s of a head that one thread has: variables, or for large heads arrays that loops walk over. Unrolled, the shaders
 * of a head of 128 took lavapipe four minutes to compile.
 */
export interface HeadVectors {
  /** WGSL of the i-th vec4 of a name. */
  readonly at: (name: string, i: string) => string;
  /** WGSL statements for every vec4. */
  readonly each: (statement: (i: string) => string) => string;
  /** WGSL that declares the vec4s of a name. */
  readonly declare: (name: string, value: (i: string) => string) => string;
  /** WGSL that declares `name` as the dot product of the vec4s of `a` with others. */
  readonly dot: (name: string, a: string, b: (i: string) => string) => string;
}

/** `count` vec4s; the loops are bounded by the uniform `vectors`, so that no compiler unrolls them. */
export function headVectors(count: number): HeadVectors {
  if (count <= UNROLLED) {
    const each = (statement: (i: string) => string) => unroll(count, (i) => statement(`${i}`), ' ');
    return {
      at: (name, i) => `${name}${i}`,
      each,
      declare: (name, value) => each((i) => `var ${name}${i} = ${value(`${i}u`)};`),
      dot: (name, a, b) => `let ${name} = ${unroll(count, (i) => `dot(${a}${i}, ${b(`${i}`)})`, ' + ')};`,
    };
  }
  const each = (statement: (i: string) => string) => `for (var e = 0u; e < p.vectors; e++) { ${statement('e')} }`;
  return {
    at: (name, i) => `${name}[${i}]`,
    each,
    declare: (name, value) => `var ${name}: array<vec4<f32>, ${count}>; ${each((i) => `${name}[${i}] = ${value(i)};`)}`,
    dot: (name, a, b) => `var ${name} = 0.0; ${each((i) => `${name} += dot(${a}[${i}], ${b(i)});`)}`,
  };
}

/** Vec4s of a head up to which they are variables. */
const UNROLLED = 16;

export function strides(a: AttentionAttributes, q: Tensor, k: Tensor, v: Tensor) {
  return {
    tq: ['u32', rowsAndColumns(q)[0]],
    tk: ['u32', rowsAndColumns(k)[0]],
    qs: ['u32', rowsAndColumns(q)[1] / 4],
    ks: ['u32', rowsAndColumns(k)[1] / 4],
    vs: ['u32', rowsAndColumns(v)[1] / 4],
    qc: ['u32', a.qColumn / 4],
    kc: ['u32', a.kColumn / 4],
    vc: ['u32', a.vColumn / 4],
    scale: ['f32', a.scale],
    vectors: ['u32', a.headDim / 4],
  } as const;
}
