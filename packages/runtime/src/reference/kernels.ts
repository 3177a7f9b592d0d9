/** @file Float64 implementations, one for each operation, straight from the formulas in `ops/`. */
import type { Node } from '../graph.ts';
import type { LoraAttributes, OpName } from '../ops/types.ts';
import { philox, toUniform } from '../random.ts';
import { rowsAndColumns, sizeOf } from '../tensor.ts';
import { act, derivative } from './activations.ts';
import { decodeAdvanceReference, decodeInputsReference, markSeenReference, penaliseSeenReference, sampleReference, scaledRow } from './decode.ts';
import { adamw8bitReference, adamwReference, sgdReference } from './optimizers.ts';
import { bmmReference, matmulReference } from './products.ts';
import { embedQuantisedReference, matmulQuantisedReference, unpack } from './quantised.ts';

type A = Float64Array;
export type ReferenceKernel<K extends OpName> = (node: Node<K>, inputs: readonly A[], outputs: readonly A[]) => void;

export const REFERENCE: { readonly [K in OpName]: ReferenceKernel<K> } = {
  matmul: matmulReference,
  bmm: bmmReference,
  matmulQuantised: matmulQuantisedReference,
  embedQuantised: embedQuantisedReference,
  softmaxChunk(node, [logits, targets, before], [out]) {
    const { temperature, first } = node.attributes;
    const [r, c] = rowsAndColumns(node.inputs[0]!);
    for (let i = 0; i < r; i++) {
      const z = Array.from(logits!.subarray(i * c, (i + 1) * c), (v) => v / temperature);
      const most = Math.max(before?.[4 * i] ?? -Infinity, ...z);
      const shift = before === undefined ? 0 : Math.exp(before[4 * i]! - most);
      let sum = before === undefined ? 0 : before[4 * i + 1]! * shift;
      let weighted = before === undefined ? 0 : before[4 * i + 2]! * shift;
      for (const v of z) {
        sum += Math.exp(v - most);
        weighted += Math.exp(v - most) * v;
      }
      const t = targets![i]! - first;
      out!.set([most, sum, weighted, t >= 0 && t < c ? z[t]! : (before?.[4 * i + 3] ?? 0)], 4 * i);
    }
  },
  softmaxFinish(_node, [statistics, targets], [logp, entropy, lse]) {
    for (let i = 0; i < logp!.length; i++) {
      const [most, sum, weighted, z] = statistics!.subarray(4 * i, 4 * i + 4) as unknown as [number, number, number, number];
      const l = most + Math.log(sum);
      lse![i] = l;
      entropy![i] = l - weighted / sum;
      logp![i] = targets![i]! < 0 ? 0 : z - l;
    }
  },
  softmaxChunkBackward(node, [logits, targets, lse, entropy, dLogp, dEntropy], [out]) {
    const { temperature, first } = node.attributes;
    const [r, c] = rowsAndColumns(node.inputs[0]!);
    for (let i = 0; i < r; i++) {
      const g = targets![i]! < 0 ? 0 : dLogp![i]!;
      for (let j = 0; j < c; j++) {
        const lp = logits![i * c + j]! / temperature - lse![i]!;
        const p = Math.exp(lp);
        out![i * c + j] = (g * ((first + j === targets![i] ? 1 : 0) - p) - (dEntropy?.[i] ?? 0) * p * (lp + entropy![i]!)) / temperature;
      }
    }
  },
  columnSum(node, [x], [target]) {
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) target![j]! += x![i * n + j]!;
  },
  rmsNorm(node, [x, w], [y, rstd]) {
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    for (let i = 0; i < m; i++) {
      let s = 0;
      for (let j = 0; j < n; j++) s += x![i * n + j]! ** 2;
      const r = 1 / Math.sqrt(s / n + node.attributes.eps);
      rstd![i] = r;
      for (let j = 0; j < n; j++) y![i * n + j] = x![i * n + j]! * r * w![j]!;
    }
  },
  rmsNormBackward(node, [dy, x, w, rstd, residual], [dx]) {
    const [m, n] = rowsAndColumns(node.inputs[1]!);
    for (let i = 0; i < m; i++) {
      let s = 0;
      for (let j = 0; j < n; j++) s += dy![i * n + j]! * w![j]! * x![i * n + j]! * rstd![i]!;
      for (let j = 0; j < n; j++) {
        const at = i * n + j;
        dx![at] = rstd![i]! * (dy![at]! * w![j]! - (x![at]! * rstd![i]! * s) / n) + (residual?.[at] ?? 0);
      }
    }
  },
  rmsNormWeightGrad(node, [dy, x, rstd], [target]) {
    const [m, n] = rowsAndColumns(node.inputs[1]!);
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) target![j]! += dy![i * n + j]! * x![i * n + j]! * rstd![i]!;
  },
  layerNorm(node, [x, w, b], [y, stats]) {
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    for (let i = 0; i < m; i++) {
      const row = x!.subarray(i * n, (i + 1) * n);
      const mean = row.reduce((s, v) => s + v, 0) / n;
      const r = 1 / Math.sqrt(row.reduce((s, v) => s + (v - mean) ** 2, 0) / n + node.attributes.eps);
      stats!.set([mean, r], 2 * i);
      for (let j = 0; j < n; j++) y![i * n + j] = (row[j]! - mean) * r * w![j]! + b![j]!;
    }
  },
  layerNormBackward(node, [dy, x, w, stats, residual], [dx]) {
    const [m, n] = rowsAndColumns(node.inputs[1]!);
    for (let i = 0; i < m; i++) {
      const [mean, r] = [stats![2 * i]!, stats![2 * i + 1]!];
      let sum = 0;
      let dot = 0;
      for (let j = 0; j < n; j++) {
        const g = dy![i * n + j]! * w![j]!;
        sum += g;
        dot += g * (x![i * n + j]! - mean) * r;
      }
      for (let j = 0; j < n; j++) {
        const at = i * n + j;
        dx![at] = r * (dy![at]! * w![j]! - sum / n - ((x![at]! - mean) * r * dot) / n) + (residual?.[at] ?? 0);
      }
    }
  },
  layerNormWeightGrad(node, [dy, x, stats], [target]) {
    const [m, n] = rowsAndColumns(node.inputs[1]!);
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) target![j]! += dy![i * n + j]! * (x![i * n + j]! - stats![2 * i]!) * stats![2 * i + 1]!;
  },
  headNorm(node, [x, w], [y, rstd]) {
    const { heads, queryHeads, headDim: d, eps } = node.attributes;
    const [t, c] = rowsAndColumns(node.inputs[0]!);
    y!.set(x!);
    for (let i = 0; i < t; i++) {
      for (let h = 0; h < heads; h++) {
        const at = i * c + h * d;
        let s = 0;
        for (let e = 0; e < d; e++) s += x![at + e]! ** 2;
        const r = 1 / Math.sqrt(s / d + eps);
        rstd![i * heads + h] = r;
        for (let e = 0; e < d; e++) y![at + e] = x![at + e]! * r * w![(h < queryHeads ? 0 : d) + e]!;
      }
    }
  },
  headNormBackward(node, [dy, x, w, rstd], [dx]) {
    const { heads, queryHeads, headDim: d } = node.attributes;
    const [t, c] = rowsAndColumns(node.inputs[1]!);
    dx!.set(dy!);
    for (let i = 0; i < t; i++) {
      for (let h = 0; h < heads; h++) {
        const at = i * c + h * d;
        const r = rstd![i * heads + h]!;
        const g = (e: number) => dy![at + e]! * w![(h < queryHeads ? 0 : d) + e]!;
        let s = 0;
        for (let e = 0; e < d; e++) s += g(e) * x![at + e]! * r;
        for (let e = 0; e < d; e++) dx![at + e] = r * (g(e) - (x![at + e]! * r * s) / d);
      }
    }
  },
  headNormWeightGrad(node, [dy, x, rstd], [target]) {
    const { heads, queryHeads, headDim: d } = node.attributes;
    const [t, c] = rowsAndColumns(node.inputs[1]!);
    for (let i = 0; i < t; i++) {
      for (let h = 0; h < heads; h++) {
        for (let e = 0; e < d; e++) target![(h < queryHeads ? 0 : d) + e]! += dy![i * c + h * d + e]! * x![i * c + h * d + e]! * rstd![i * heads + h]!;
      }
    }
  },
  rope(node, [x, positions, table], [out]) {
    const { heads, headDim, axes, inverse } = node.attributes;
    const [t, c] = rowsAndColumns(node.inputs[0]!);
    const half = headDim / 2;
    out!.set(x!);
    for (let row = 0; row < t; row++) {
      for (let h = 0; h < heads; h++) {
        for (let j = 0; j < half; j++) {
          const p = positions![axes[j]! * t + row]!;
          const cs = table![(p * half + j) * 2]!;
          const sn = table![(p * half + j) * 2 + 1]! * (inverse ? -1 : 1);
          const at = row * c + h * headDim + j;
          out![at] = x![at]! * cs - x![at + half]! * sn;
          out![at + half] = x![at + half]! * cs + x![at]! * sn;
        }
      }
    }
  },
  attention(node, [q, k, v, ranges], [o, lse]) {
    const { heads, kvHeads, headDim: d, scale, qColumn, kColumn, vColumn } = node.attributes;
    const [tq, qs] = rowsAndColumns(node.inputs[0]!);
    const ks = rowsAndColumns(node.inputs[1]!)[1];
    const vs = rowsAndColumns(node.inputs[2]!)[1];
    for (let i = 0; i < tq; i++) {
      const keys = keysOf(ranges!, i);
      for (let h = 0; h < heads; h++) {
        const kv = Math.floor(h / (heads / kvHeads));
        const scores = keys.map((j) => {
          let s = 0;
          for (let e = 0; e < d; e++) s += q![i * qs + qColumn + h * d + e]! * k![j * ks + kColumn + kv * d + e]!;
          return s * scale;
        });
        const m = Math.max(...scores);
        const l = scores.reduce((a, s) => a + Math.exp(s - m), 0);
        lse![i * heads + h] = keys.length === 0 ? 0 : m + Math.log(l);
        for (let e = 0; e < d; e++) {
          let s = 0;
          keys.forEach((j, n) => (s += (Math.exp(scores[n]! - m) / l) * v![j * vs + vColumn + kv * d + e]!));
          o![(i * heads + h) * d + e] = s;
        }
      }
    }
  },
  attentionBackward(node, [x, o, lse, dO, ranges], [dx, delta]) {
    const { heads, kvHeads, headDim: d, scale, qColumn, kColumn, vColumn } = node.attributes;
    const [t, s] = rowsAndColumns(node.inputs[0]!);
    dx!.fill(0);
    for (let i = 0; i < t; i++) {
      for (let h = 0; h < heads; h++) {
        const kv = Math.floor(h / (heads / kvHeads));
        const at = (i * heads + h) * d;
        let own = 0;
        for (let e = 0; e < d; e++) own += dO![at + e]! * o![at + e]!;
        delta![i * heads + h] = own;
        for (const j of keysOf(ranges!, i)) {
          let score = 0;
          let dp = 0;
          for (let e = 0; e < d; e++) {
            score += x![i * s + qColumn + h * d + e]! * x![j * s + kColumn + kv * d + e]!;
            dp += dO![at + e]! * x![j * s + vColumn + kv * d + e]!;
          }
          const p = Math.exp(score * scale - lse![i * heads + h]!);
          const ds = p * (dp - own) * scale;
          for (let e = 0; e < d; e++) {
            dx![i * s + qColumn + h * d + e]! += ds * x![j * s + kColumn + kv * d + e]!;
            dx![j * s + kColumn + kv * d + e]! += ds * x![i * s + qColumn + h * d + e]!;
            dx![j * s + vColumn + kv * d + e]! += p * dO![at + e]!;
          }
        }
      }
    }
  },
  swiglu(node, [x], [y]) {
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    const f = n / 2;
    for (let i = 0; i < m; i++) for (let j = 0; j < f; j++) y![i * f + j] = act('silu', x![i * n + j]!) * x![i * n + f + j]!;
  },
  swigluBackward(node, [dy, x], [dx]) {
    const [m, n] = rowsAndColumns(node.inputs[1]!);
    const f = n / 2;
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < f; j++) {
        const gate = x![i * n + j]!;
        const up = x![i * n + f + j]!;
        const g = dy![i * f + j]!;
        dx![i * n + j] = g * up * derivative('silu', gate);
        dx![i * n + f + j] = g * act('silu', gate);
      }
    }
  },
  activation(node, [x], [y]) {
    x!.forEach((v, i) => (y![i] = act(node.attributes.kind, v)));
  },
  activationBackward(node, [dy, x], [dx]) {
    x!.forEach((v, i) => (dx![i] = dy![i]! * derivative(node.attributes.kind, v)));
  },
  add(_node, [a, b], [out]) {
    a!.forEach((v, i) => (out![i] = v + b![i]!));
  },
  loraUp(node, [base, down, b], [out]) {
    const { rank } = node.attributes;
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    const width = rowsAndColumns(node.inputs[1]!)[1];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const { part, scale } = partOf(node.attributes, j);
        let s = 0;
        for (let r = 0; r < rank; r++) s += down![i * width + part * rank + r]! * b![j * rank + r]!;
        out![i * n + j] = base![i * n + j]! + scale * s;
      }
    }
  },
  loraUpGradDown(node, [dy, b], [out]) {
    const { rank } = node.attributes;
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    const width = rowsAndColumns(node.outputs[0]!)[1];
    out!.fill(0);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const { part, scale } = partOf(node.attributes, j);
        for (let r = 0; r < rank; r++) out![i * width + part * rank + r]! += scale * dy![i * n + j]! * b![j * rank + r]!;
      }
    }
  },
  loraUpGradB(node, [dy, down], [out]) {
    const { rank } = node.attributes;
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    const width = rowsAndColumns(node.inputs[1]!)[1];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const { part, scale } = partOf(node.attributes, j);
        for (let r = 0; r < rank; r++) out![j * rank + r]! += scale * dy![i * n + j]! * down![i * width + part * rank + r]!;
      }
    }
  },
  doraNorm(node, inputs, [norm]) {
    const { rank, weight } = node.attributes;
    const [a, b] = [inputs[0], inputs.at(-1)];
    const w = weight === null ? inputs[1] : unpack(weight, inputs);
    const [n, k] = [sizeOf(node.outputs[0]!.shape), rowsAndColumns(node.inputs[0]!)[1]];
    for (let j = 0; j < n; j++) {
      const { part, scale } = partOf(node.attributes, j);
      let sum = 0;
      for (let q = 0; q < k; q++) {
        let v = 0;
        for (let r = 0; r < rank; r++) v += b![j * rank + r]! * a![(part * rank + r) * k + q]!;
        sum += (w![j * k + q]! + scale * v) ** 2;
      }
      norm![j] = Math.sqrt(sum);
    }
  },
  doraScale(node, inputs, [out]) {
    const [x, magnitude, norm] = inputs as [A, A, A];
    const { bias, residual } = node.attributes;
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const factor = partOf(node.attributes, j).scale === 0 ? 1 : magnitude[j]! / norm[j]!;
        out![i * n + j] = x[i * n + j]! * factor + (bias ? inputs[3]![j]! : 0) + (residual ? inputs[bias ? 4 : 3]![i * n + j]! : 0);
      }
    }
  },
  doraMagnitudeGrad(node, [dy, x, norm], [target]) {
    const [m, n] = rowsAndColumns(node.inputs[0]!);
    for (let j = 0; j < n; j++) {
      if (partOf(node.attributes, j).scale === 0) continue;
      for (let i = 0; i < m; i++) target![j]! += (dy![i * n + j]! * x![i * n + j]!) / norm![j]!;
    }
  },
  dropout(node, [x, key], [out]) {
    const { p, site, rest } = node.attributes;
    x!.forEach((v, i) => {
      const u = toUniform(philox([i, site, 0, 0], [key![0]!, key![1]!])[0]);
      const kept = u >= p ? v / (1 - p) : 0;
      out![i] = rest ? v - kept : kept;
    });
  },
  blendRows(node, [x, weights], [out]) {
    const [r, k] = rowsAndColumns(node.inputs[1]!);
    const c = rowsAndColumns(node.inputs[0]!)[1];
    for (let i = 0; i < r; i++) {
      for (let e = 0; e < c; e++) {
        let s = 0;
        for (let j = 0; j < k; j++) s += weights![i * k + j]! * x![(i * k + j) * c + e]!;
        out![i * c + e] = s;
      }
    }
  },
  blendRowsBackward(node, [dy, weights], [dx]) {
    const k = rowsAndColumns(node.inputs[1]!)[1];
    const c = rowsAndColumns(node.inputs[0]!)[1];
    for (let i = 0; i < weights!.length; i++) for (let e = 0; e < c; e++) dx![i * c + e] = weights![i]! * dy![Math.floor(i / k) * c + e]!;
  },
  embed(node, [ids, table, features, source], [out]) {
    const [t, c] = rowsAndColumns(node.outputs[0]!);
    for (let i = 0; i < t; i++) {
      const from = source?.[i] ?? -1;
      const row = from >= 0 ? features!.subarray(from * c, (from + 1) * c) : table!.subarray(ids![i]! * c, (ids![i]! + 1) * c);
      out!.set(row, i * c);
    }
  },
  embedTableGrad(node, [dy, order, starts, rows], [target]) {
    const c = rowsAndColumns(node.inputs[0]!)[1];
    rows!.forEach((row, u) => {
      if (row < 0) return;
      for (let i = starts![u]!; i < starts![u + 1]!; i++) for (let j = 0; j < c; j++) target![row * c + j]! += dy![order![i]! * c + j]!;
    });
  },
  gatherRows(node, [x, index], [out]) {
    const c = rowsAndColumns(node.inputs[0]!)[1];
    index!.forEach((from, i) => {
      for (let j = 0; j < c; j++) out![i * c + j] = from < 0 ? 0 : x![from * c + j]!;
    });
  },
  scatterRowsInto(node, [x, index], [target]) {
    const { column, width } = node.attributes;
    const c = rowsAndColumns(node.inputs[0]!)[1];
    index!.forEach((to, i) => {
      if (to >= 0) for (let j = 0; j < width; j++) target![to * width + j] = x![i * c + column + j]!;
    });
  },
  logSoftmax(node, [logits, targets], [logp, entropy, lse]) {
    const [r, v] = rowsAndColumns(node.inputs[0]!);
    for (let i = 0; i < r; i++) {
      const { z, lse: l } = scaledRow(logits!, i, v, node.attributes.temperature);
      lse![i] = l;
      entropy![i] = -z.reduce((s, x) => s + Math.exp(x - l) * (x - l), 0);
      logp![i] = targets![i]! < 0 ? 0 : z[targets![i]!]! - l;
    }
  },
  logSoftmaxBackward(node, [logits, targets, lse, entropy, dLogp, dEntropy], [out]) {
    const [r, v] = rowsAndColumns(node.inputs[0]!);
    const { temperature } = node.attributes;
    for (let i = 0; i < r; i++) {
      const g = targets![i]! < 0 ? 0 : dLogp![i]!;
      const h = dEntropy?.[i] ?? 0;
      for (let j = 0; j < v; j++) {
        const lp = logits![i * v + j]! / temperature - lse![i]!;
        const p = Math.exp(lp);
        out![i * v + j] = (g * ((j === targets![i] ? 1 : 0) - p) - h * p * (lp + entropy![i]!)) / temperature;
      }
    }
  },
  sumSquares(_node, [x], [out]) {
    out![0] = x!.reduce((s, v) => s + v * v, 0);
  },
  adamw: adamwReference,
  adamw8bit: adamw8bitReference,
  sgd: sgdReference,
  sample: sampleReference,
  penaliseSeen: penaliseSeenReference,
  markSeen: markSeenReference,
  decodeAdvance: decodeAdvanceReference,
  decodeInputs: decodeInputsReference,
};

function keysOf(ranges: A, row: number): number[] {
  const keys: number[] = [];
  for (let r = 0; r < 6; r += 2) for (let j = ranges[row * 6 + r]!; j < ranges[row * 6 + r + 1]!; j++) keys.push(j);
  return keys;
}

function partOf({ ends, scales }: LoraAttributes, column: number): { part: number; scale: number } {
  const part = ends.findIndex((e) => column < e);
  return { part, scale: scales[part]! };
}
