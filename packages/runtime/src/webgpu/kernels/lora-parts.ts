/** @file What shaders know of the parts of a low-rank adapter. */
import type { LoraAttributes } from '../../ops/types.ts';

/** WGSL that finds the part of an output column and its factor. */
export function parts({ ends, scales }: LoraAttributes): string {
  const n = ends.length;
  return `
const ENDS = array<u32, ${n}>(${ends.map((e) => `${e}u`).join(', ')});
const SCALES = array<f32, ${n}>(${scales.map((s) => `f32(${s})`).join(', ')});
fn partOf(column: u32) -> u32 { var part = 0u; for (var i = 0u; i < ${n - 1}u; i++) { if (column >= ENDS[i]) { part = i + 1u; } } return part; }`;
}

/** WGSL of `adapted(row, column)`: what the adapter adds to an output, from `down` [M, parts * rank] and `up` [N, rank]. */
export function adaptedOf(attributes: LoraAttributes): string {
  const { rank, ends } = attributes;
  return `${parts(attributes)}
fn adapted(row: u32, column: u32) -> f32 {
  let part = partOf(column);
  let at = row * ${rank * ends.length}u + part * ${rank}u;
  var s = 0.0;
  for (var r = 0u; r < ${rank}u; r++) { s = fma(down[at + r], up[column * ${rank}u + r], s); }
  return SCALES[part] * s;
}`;
}
