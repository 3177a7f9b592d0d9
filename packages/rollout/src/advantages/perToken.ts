import { RolloutError } from '../error.ts';
import { moments } from '../numeric/moments.ts';
import { everyRow } from './rows.ts';
import { type AdvantageInput, type RewardWeights, readAdvantageInput } from './input.ts';

/** Input of the estimators that give each token its own advantage. Padded row-major layout. */
export interface TokenAdvantageInput extends Omit<AdvantageInput, 'lengths' | 'out'> {
  readonly mask: ArrayLike<number | boolean>;
  readonly shape: readonly [rows: number, columns: number];
  readonly rewardWeights?: RewardWeights | undefined;
}

/**
 * REINFORCE++ with a discount (verl `reinforce_plus_plus`): the reward stands on the last active token,
 *
 *   R_t = r_t + γ R_{t+1}, masked tokens skipped;   A = (R − mean) / sqrt(var + 1e-8) over the batch's tokens
 *
 * @param gamma the discount. @param countEpsilon added to the token count; verl 1e-8, 0 by default.
 * @returns rows * columns advantages, 0 at masked positions.
 */
export function reinforcePlusPlusTokens(input: TokenAdvantageInput, { gamma = 1, countEpsilon = 0 }: { gamma?: number; countEpsilon?: number } = {}): Float64Array {
  const { rewards } = readAdvantageInput(input, input.rewardWeights);
  const [rows, columns] = checkShape(input, rewards.length);
  const returns = new Float64Array(rows * columns);
  const active: number[] = [];
  for (let i = 0; i < rows; i++) {
    let running = NaN;
    for (let t = columns - 1; t >= 0; t--) {
      const k = i * columns + t;
      if (!input.mask[k] || Number.isNaN(rewards[i])) continue;
      running = Number.isNaN(running) ? (rewards[i] as number) : gamma * running;
      returns[k] = running;
      active.push(k);
    }
  }
  const m = moments(returns, active);
  const n = active.length;
  if (n < 2) return new Float64Array(rows * columns);
  if (m.equal && countEpsilon === 0) return new Float64Array(rows * columns);
  let sum = 0;
  for (const k of active) sum += (returns[k] as number) * m.scale;
  const mean = sum / (n + countEpsilon);
  let squares = 0;
  for (const k of active) squares += ((returns[k] as number) * m.scale - mean) ** 2;
  const variance = (squares / (n + countEpsilon)) * (n / (n - 1));
  for (const k of active) returns[k] = ((returns[k] as number) * m.scale - mean) / Math.sqrt(variance + 1e-8 * m.scale * m.scale);
  return returns;
}

/**
 * The optimal token baseline (verl `optimal_token_baseline`): with the reward-to-go R and the path variance W,
 *
 *   B_t = Σ_g R W_t / (Σ_g W_t + 1e-8),   W_t = Σ_{j ≤ t} (1 − 2 π_j + Σπ²_j)
 *
 * The part of a group's longest answer beyond the second longest has no baseline. A group of one keeps its reward.
 *
 * @param sumPiSquared Σ over the vocabulary of π² at each position, row-major.
 */
export function optimalTokenBaseline(input: TokenAdvantageInput & { readonly oldLogps: ArrayLike<number>; readonly sumPiSquared: ArrayLike<number> }): Float64Array {
  const { rewards, groups } = readAdvantageInput(input, input.rewardWeights);
  const [rows, columns] = checkShape(input, rewards.length);
  for (const name of ['oldLogps', 'sumPiSquared'] as const) {
    if (input[name]?.length !== rows * columns) throw new RolloutError('length-mismatch', name, input[name]?.length, `must have ${rows * columns} entries`, 'Pass one number for each position.');
  }
  // Active positions of each row, first to last.
  const positions = Array.from(everyRow(rows), (i) => {
    const list: number[] = [];
    for (let k = i * columns; k < (i + 1) * columns; k++) if (input.mask[k]) list.push(k);
    return list;
  });
  const out = new Float64Array(rows * columns);
  for (const group of groups) {
    const members = Array.from(group).filter((i) => !Number.isNaN(rewards[i]));
    const lengths = members.map((i) => (positions[i] as number[]).length).sort((a, b) => b - a);
    const second = lengths[1] ?? 0;
    const variances = members.map((i) => {
      let w = 0;
      return (positions[i] as number[]).map((k) => (w += 1 - 2 * Math.exp(input.oldLogps[k] as number) + (input.sumPiSquared[k] as number)));
    });
    members.forEach((i) => {
      (positions[i] as number[]).forEach((k, t) => {
        let numerator = 0;
        let denominator = 1e-8;
        members.forEach((j, n) => {
          const w = (variances[n] as number[])[t] ?? 0;
          numerator += (rewards[j] as number) * w;
          denominator += w;
        });
        const baseline = t < second ? numerator / denominator : 0;
        out[k] = (rewards[i] as number) - baseline;
      });
    });
  }
  return out;
}

function checkShape({ shape, mask }: TokenAdvantageInput, count: number): readonly [number, number] {
  const [rows, columns] = shape;
  if (rows !== count || mask?.length !== rows * columns) {
    throw new RolloutError('length-mismatch', 'shape', `${rows}x${columns}`, `must describe ${count} rollouts and a mask of ${mask?.length}`, 'Pass [rollouts, columns] and a row-major mask.');
  }
  return shape;
}
