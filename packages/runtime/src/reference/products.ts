/** @file Float64 matrix products, single and batched. */
import { rowsAndColumns, sizeOf } from '../tensor.ts';
import { act } from './activations.ts';
import type { ReferenceKernel } from './kernels.ts';

export const matmulReference: ReferenceKernel<'matmul'> = (node, inputs, [out]) => {
  const { transposeA, transposeB, alpha, activation, bias, residual, accumulate } = node.attributes;
  const [a, b] = inputs as [Float64Array, Float64Array];
  const biasData = bias ? inputs[2]! : undefined;
  const residualData = residual ? inputs[bias ? 3 : 2]! : undefined;
  const [ar, ac] = rowsAndColumns(node.inputs[0]!);
  const [br, bc] = rowsAndColumns(node.inputs[1]!);
  const m = transposeA ? ac : ar;
  const k = transposeA ? ar : ac;
  const n = transposeB ? br : bc;
  product(a, b, transposeA, transposeB, m, n, k, (i, j, s) => {
    const v = act(activation, alpha * s + (biasData?.[j] ?? 0)) + (residualData?.[i * n + j] ?? 0);
    if (accumulate) out![i * n + j]! += v;
    else out![i * n + j] = v;
  });
};

export const bmmReference: ReferenceKernel<'bmm'> = (node, [a, b, residual], [out]) => {
  const { transposeA, transposeB, alpha, accumulate } = node.attributes;
  const [ar, ac] = node.inputs[0]!.shape.slice(-2) as [number, number];
  const [br, bc] = node.inputs[1]!.shape.slice(-2) as [number, number];
  const m = transposeA ? ac : ar;
  const k = transposeA ? ar : ac;
  const n = transposeB ? br : bc;
  const batch = sizeOf(node.inputs[0]!.shape.slice(0, -2));
  for (let z = 0; z < batch; z++) {
    product(a!.subarray(z * m * k), b!.subarray(z * k * n), transposeA, transposeB, m, n, k, (i, j, s) => {
      const at = z * m * n + i * n + j;
      out![at] = alpha * s + (accumulate ? out![at]! : (residual?.[at] ?? 0));
    });
  }
};

/** Calls `take` with row, column and element of op(A) op(B). */
function product(a: Float64Array, b: Float64Array, transposeA: boolean, transposeB: boolean, m: number, n: number, k: number, take: (i: number, j: number, s: number) => void): void {
  // Steps along the inner axis and from row to row (column to column) of each operand as it lies in memory.
  const [aInner, aOuter] = transposeA ? [m, 1] : [1, k];
  const [bInner, bOuter] = transposeB ? [1, k] : [n, 1];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let s = 0;
      let ai = i * aOuter;
      let bi = j * bOuter;
      for (let q = 0; q < k; q++) {
        s += a[ai]! * b[bi]!;
        ai += aInner;
        bi += bInner;
      }
      take(i, j, s);
    }
  }
}
