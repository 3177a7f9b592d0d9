/** @file How shaders read weights in 4, 8 and 16 bits: value by value from a word, or four neighbours at a time. */
import { NF4 } from '../../ops/nf4.ts';
import type { QuantisedAttributes } from '../../ops/types.ts';
import type { Tensor } from '../../tensor.ts';
import { type KernelSpec, unroll } from '../launch.ts';

/** WGSL of `value(word, i, block)`: the i-th value of a word of the given block. */
export function valueOf({ format, bits, zeros }: QuantisedAttributes): string {
  if (format === 'f16') return 'fn value(word: u32, i: u32, block: u32) -> f32 { return unpack2x16float(word)[i]; }';
  const mask = 2 ** bits - 1;
  const q = `(word >> (i * ${bits}u)) & ${mask}u`;
  if (format === 'nf4') {
    return `${nf4Table()}
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

/**
 * WGSL of `unpackFour(row, column4)`: the four values from column 4 * column4 on. Needs the uniforms of `packedUniforms`, and
 * columns in whole fours.
 */
export function quadOf({ format, bits, blockSize, zeros }: QuantisedAttributes): string {
  const head = 'fn unpackFour(row: u32, column4: u32) -> vec4<f32> {';
  if (format === 'f16') return `${head} let at = row * p.words + column4 * 2u; return vec4<f32>(unpack2x16float(data[at]), unpack2x16float(data[at + 1u])); }`;
  const mask = 2 ** bits - 1;
  const word = bits === 4 ? 'data[row * p.words + column4 / 2u] >> ((column4 & 1u) * 16u)' : 'data[row * p.words + column4]';
  const codes = `let word = ${word};\n  let q = (vec4<u32>(word) >> vec4<u32>(0u, ${bits}u, ${2 * bits}u, ${3 * bits}u)) & vec4<u32>(${mask}u);\n  let block = row * p.blocks + column4 * 4u / ${blockSize}u;`;
  if (format === 'nf4') return `${nf4Table()}${head}\n  ${codes}\n  return vec4<f32>(${unroll(4, (i) => `NF4[q[${i}]]`, ', ')}) * scales[block];\n}`;
  return `${head}\n  ${codes}\n  return (vec4<f32>(q) - ${zeros ? 'zeros[block]' : `${2 ** (bits - 1)}.0`}) * scales[block];\n}`;
}

function nf4Table(): string {
  return `\nconst NF4 = array<f32, 16>(${NF4.map((v) => `f32(${v})`).join(', ')});\n`;
}

/** Words and blocks from row to row. */
export function packedUniforms(attributes: QuantisedAttributes): KernelSpec['uniforms'] {
  const { words, blocks } = layout(attributes);
  return { words: ['u32', words], blocks: ['u32', blocks] };
}
