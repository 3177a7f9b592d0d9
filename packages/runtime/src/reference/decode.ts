/** @file Float64 sampling and the bookkeeping of decoding. */
import { STATE, STATE_WIDTH } from '../ops/decode.ts';
import { philox, toUniform } from '../random.ts';
import { rowsAndColumns } from '../tensor.ts';
import type { ReferenceKernel } from './kernels.ts';

export const sampleReference: ReferenceKernel<'sample'> = (node, [logits, counters, key], [token, logp, entropy]) => {
  const { temperature, topK, topP, minP } = node.attributes;
  const [r, v] = rowsAndColumns(node.inputs[0]!);
  for (let i = 0; i < r; i++) {
    const { z, lse } = scaledRow(logits!, i, v, temperature === 0 ? 1 : temperature);
    const order = Array.from(z.keys()).sort((a, b) => z[b]! - z[a]! || a - b);
    const best = order[0]!;
    let chosen = best;
    if (temperature > 0) {
      // The smallest set of most probable tokens that satisfies top-k and top-p; then min-p; kept in the order of ids.
      let mass = 0;
      const kept = new Set<number>();
      for (const j of order) {
        if ((topK > 0 && kept.size >= topK) || (topP < 1 && mass >= topP)) break;
        kept.add(j);
        mass += Math.exp(z[j]! - lse);
      }
      const ids = Array.from(z.keys()).filter((j) => j === best || (kept.has(j) && Math.exp(z[j]! - z[best]!) > minP));
      const total = ids.reduce((s, j) => s + Math.exp(z[j]! - lse), 0);
      const u = toUniform(philox([counters![2 * i]!, counters![2 * i + 1]!, 0, 0], [key![0]!, key![1]!])[0]) * total;
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

export const decodeAdvanceReference: ReferenceKernel<'decodeAdvance'> = (node, [token, logp, entropy], [state, history, trace]) => {
  const { rows, maxNewTokens, stopIds } = node.attributes;
  for (let i = 0; i < rows; i++) {
    const at = i * STATE_WIDTH;
    if (state![at + STATE.finished] !== 0) continue;
    const n = state![at + STATE.count]!;
    history![i * maxNewTokens + n] = token![i]!;
    trace![(i * maxNewTokens + n) * 2] = logp![i]!;
    trace![(i * maxNewTokens + n) * 2 + 1] = entropy![i]!;
    state![at + STATE.token] = token![i]!;
    state![at + STATE.count] = n + 1;
    if (n + 1 >= maxNewTokens || stopIds.includes(token![i]!)) state![at + STATE.finished] = 1;
  }
};

export const decodeInputsReference: ReferenceKernel<'decodeInputs'> = (node, [state], [ids, positions, ranges, cacheRows, counters]) => {
  const { rows } = node.attributes;
  for (let i = 0; i < rows; i++) {
    const s = state!.subarray(i * STATE_WIDTH, (i + 1) * STATE_WIDTH);
    const n = s[STATE.count]!;
    ids![i] = s[STATE.token]!;
    for (let axis = 0; axis < 3; axis++) positions![axis * rows + i] = s[STATE.nextPosition]! + n - 1;
    ranges!.set([s[STATE.sharedLow]!, s[STATE.sharedHigh]!, s[STATE.promptLow]!, s[STATE.promptHigh]!, s[STATE.base]!, s[STATE.base]! + n + 1], i * 6);
    cacheRows![i] = s[STATE.finished] === 0 ? s[STATE.base]! + n : -1;
    counters!.set([s[STATE.stream]!, n], i * 2);
  }
};

/** A row of logits divided by the temperature, and its log-sum-exp. */
export function scaledRow(logits: Float64Array, row: number, v: number, temperature: number): { z: Float64Array; lse: number } {
  const z = logits.slice(row * v, (row + 1) * v).map((x) => x / temperature);
  const m = z.reduce((a, b) => Math.max(a, b), -Infinity);
  return { z, lse: m + Math.log(z.reduce((s, x) => s + Math.exp(x - m), 0)) };
}
