/** @file Float64 sampling and the bookkeeping of decoding. */
import { ALIKE, seenWords, SETTINGS_WIDTH, STATE, STATE_WIDTH } from '../ops/decode.ts';
import { philox, toUniform } from '../random.ts';
import { rowsAndColumns } from '../tensor.ts';
import type { ReferenceKernel } from './kernels.ts';

export const sampleReference: ReferenceKernel<'sample'> = (node, [logits, draws, settings], [token, logp, entropy]) => {
  const [r, v] = rowsAndColumns(node.inputs[0]!);
  for (let i = 0; i < r; i++) {
    const [inverse, topK, topP, minP] = settings!.subarray(i * SETTINGS_WIDTH, (i + 1) * SETTINGS_WIDTH) as unknown as [number, number, number, number];
    const { z, lse } = scaledRow(logits!, i, v, inverse === 0 ? 1 : 1 / inverse);
    const best = z.reduce((b, x, j) => (x > z[b]! ? j : b), 0);
    let chosen = best;
    if (inverse > 0) {
      const cut = lowestKept(z.map((x) => Math.exp(x - z[best]!)), topK, topP);
      // In the order of ids.
      const ids = Array.from(z.keys()).filter((j) => {
        const e = Math.exp(z[j]! - z[best]!);
        return j === best || (e >= cut * (1 - ALIKE) && e >= minP * (1 - ALIKE));
      });
      const total = ids.reduce((s, j) => s + Math.exp(z[j]! - lse), 0);
      const u = toUniform(philox([draws![4 * i]!, draws![4 * i + 1]!, 0, 0], [draws![4 * i + 2]!, draws![4 * i + 3]!])[0]) * total;
      let sum = 0;
      for (const j of ids) {
        chosen = j;
        sum += Math.exp(z[j]! - lse);
        if (sum > u) break;
      }
    }
    token![i] = chosen;
    logp![i] = z[chosen]! - lse;
    entropy![i] = -z.reduce((s, x) => s + Math.exp(x - lse) * (x - lse), 0);
  }
};

/** The smallest of some weights that top-k keeps, and of these top-p, which goes by their sum. */
function lowestKept(weights: Float64Array, topK: number, topP: number): number {
  const sorted = weights.toSorted().reverse();
  let cut = topK > 0 ? (sorted[topK - 1] ?? 0) : 0;
  if (topP < 1) {
    const wanted = topP * sorted.reduce((sum, w) => (w >= cut * (1 - ALIKE) ? sum + w : sum), 0);
    let mass = 0;
    cut = sorted.find((w) => (mass += w) >= wanted) ?? cut;
  }
  return cut;
}

export const penaliseSeenReference: ReferenceKernel<'penaliseSeen'> = (node, [logits, seen, penalties], [out]) => {
  const [r, v] = rowsAndColumns(node.inputs[0]!);
  const words = seenWords(v);
  for (let i = 0; i < r; i++) {
    for (let j = 0; j < v; j++) {
      const z = logits![i * v + j]!;
      const isSeen = ((seen![i * words + (j >> 5)]! >>> (j & 31)) & 1) !== 0;
      out![i * v + j] = !isSeen ? z : z < 0 ? z * penalties![i]! : z / penalties![i]!;
    }
  }
};

export const markSeenReference: ReferenceKernel<'markSeen'> = (node, [token], [seen]) => {
  const words = node.outputs[0]!.shape[1]!;
  token!.forEach((t, i) => {
    const at = i * words + (t >> 5);
    seen![at] = (seen![at]! | (1 << (t & 31))) >>> 0;
  });
};

export const decodeAdvanceReference: ReferenceKernel<'decodeAdvance'> = (node, [token, logp, entropy], [state, history, trace]) => {
  const { rows, stopIds } = node.attributes;
  for (let i = 0; i < rows; i++) {
    const at = i * STATE_WIDTH;
    if (state![at + STATE.finished] !== 0) continue;
    const n = state![at + STATE.count]!;
    const to = state![at + STATE.base]! + n;
    history![to] = token![i]!;
    trace![2 * to] = logp![i]!;
    trace![2 * to + 1] = entropy![i]!;
    state![at + STATE.token] = token![i]!;
    state![at + STATE.count] = n + 1;
    if (n + 1 >= state![at + STATE.limit]! || stopIds.includes(token![i]!)) state![at + STATE.finished] = 1;
  }
};

export const decodeInputsReference: ReferenceKernel<'decodeInputs'> = (node, [state], [ids, positions, ranges, cacheRows, draws]) => {
  const { rows } = node.attributes;
  for (let i = 0; i < rows; i++) {
    const s = state!.subarray(i * STATE_WIDTH, (i + 1) * STATE_WIDTH);
    const n = s[STATE.count]!;
    ids![i] = s[STATE.token]!;
    for (let axis = 0; axis < 3; axis++) positions![axis * rows + i] = s[STATE.nextPosition]! + n - 1;
    ranges!.set([s[STATE.sharedLow]!, s[STATE.sharedHigh]!, s[STATE.promptLow]!, s[STATE.promptHigh]!, s[STATE.base]!, s[STATE.base]! + n + 1], i * 6);
    cacheRows![i] = s[STATE.finished] === 0 ? s[STATE.base]! + n : -1;
    draws!.set([s[STATE.stream]!, n, s[STATE.keyLow]! >>> 0, s[STATE.keyHigh]! >>> 0], i * 4);
  }
};

/** A row of logits divided by the temperature, and its log-sum-exp. */
export function scaledRow(logits: Float64Array, row: number, v: number, temperature: number): { z: Float64Array; lse: number } {
  const z = logits.slice(row * v, (row + 1) * v).map((x) => x / temperature);
  const m = z.reduce((a, b) => Math.max(a, b), -Infinity);
  return { z, lse: m + Math.log(z.reduce((s, x) => s + Math.exp(x - m), 0)) };
}
