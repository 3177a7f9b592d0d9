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
  } as const;
}
