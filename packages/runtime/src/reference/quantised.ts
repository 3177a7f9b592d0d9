/** @file Float64 products and look-ups with weights in 4, 8 and 16 bits. */
import { NF4 } from '../ops/nf4.ts';
import { weightInputCount } from '../ops/quantised.ts';
import type { QuantisedAttributes } from '../ops/types.ts';
import { rowsAndColumns } from '../tensor.ts';
import type { ReferenceKernel } from './kernels.ts';

type A = Float64Array;

export const matmulQuantisedReference: ReferenceKernel<'matmulQuantised'> = (node, inputs, [out]) => {
  const { rows: n, columns: k, transposed, bias, residual, outFirst, outColumns } = node.attributes;
  const x = inputs[0]!;
  const w = unpack(node.attributes, inputs);
  let next = 1 + weightInputCount(node.attributes);
  const biasData = bias ? inputs[next++] : undefined;
  const residualData = residual ? inputs[next] : undefined;
  const m = rowsAndColumns(node.outputs[0]!)[0];
  const [wide, inner] = transposed ? [k, n] : [n, k];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < wide; j++) {
      let s = biasData?.[j] ?? 0;
      for (let q = 0; q < inner; q++) s += x[i * inner + q]! * (transposed ? w[q * k + j]! : w[j * k + q]!);
      out![i * outColumns + outFirst + j] = s + (residualData?.[i * wide + j] ?? 0);
    }
  }
};

export const embedQuantisedReference: ReferenceKernel<'embedQuantised'> = (node, inputs, [out]) => {
  const { rows, columns: k, first, before } = node.attributes;
  const table = unpack(node.attributes, inputs);
  const earlier = before ? inputs[1 + weightInputCount(node.attributes)] : undefined;
  inputs[0]!.forEach((id, t) => {
    const own = id >= first && id < first + rows;
    for (let c = 0; c < k; c++) out![t * k + c] = own ? table[(id - first) * k + c]! : (earlier?.[t * k + c] ?? 0);
  });
};

/** A quantised weight, whose tensors follow the first input, as numbers [rows, columns]. */
export function unpack({ format, bits, blockSize, rows, columns, zeros: shifted }: QuantisedAttributes, inputs: readonly A[]): A {
  const [, data, scales, zeroPoints] = inputs as [A, A, A, A];
  const zeros = shifted ? zeroPoints : undefined;
  const blocks = Math.ceil(columns / blockSize);
  const perWord = 32 / bits;
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const block = r * blocks + Math.floor(c / blockSize);
      const at = r * blocks * blockSize + c;
      const q = (data[Math.floor(at / perWord)]! >>> (bits * (at % perWord))) & (2 ** bits - 1);
      if (format === 'f16') out[r * columns + c] = halfToNumber(q);
      else out[r * columns + c] = (format === 'nf4' ? NF4[q]! : q - (zeros?.[block] ?? 2 ** (bits - 1))) * scales[block]!;
    }
  }
  return out;
}

/** An IEEE 754 half float. */
function halfToNumber(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}
